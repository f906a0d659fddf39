//! The root helper of netglance. Empty so far: exact counting is not built yet, the app estimates without it.
