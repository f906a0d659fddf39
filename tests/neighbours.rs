//! What netglance and its neighbours do to each other.
