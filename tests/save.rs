//! Saving a chart with the desktop's file chooser, on a real bus.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test stops at the first surprise")]

#[path = "support/desk.rs"]
mod desk;
mod support;

use std::{collections::HashMap, fs};

use netglance::program::save::save;
use zbus::{Connection, OwnedObjectPath, OwnedVariant, Variant, connection::Builder, fdo, interface, message::Header};

/// A file chooser whose person answers at once.
struct Person {
    response: u32,
    uri: String,
}

#[interface(name = "org.freedesktop.portal.FileChooser")]
impl Person {
    async fn save_file(
        &self,
        _parent: &str,
        title: &str,
        options: HashMap<&str, OwnedVariant>,
        #[zbus(header)] header: Header<'_>,
        #[zbus(connection)] connection: &Connection,
    ) -> fdo::Result<OwnedObjectPath> {
        let text = |key| String::try_from(options[key].try_clone().unwrap()).unwrap();
        assert_eq!((title, text("current_name").as_str()), ("Save Chart", "StB_1.svg"));
        let caller = header.sender().unwrap().to_owned();
        let sender = caller.trim_start_matches(':').replace('.', "_");
        let path = format!("/org/freedesktop/portal/desktop/request/{sender}/{}", text("handle_token"));
        let results = HashMap::from([("uris", Variant::from(vec![self.uri.clone()]))]);
        let interface = "org.freedesktop.portal.Request";
        // Before the call returns: nothing is too early.
        connection.emit_signal(Some(caller), path.as_str(), interface, "Response", &(self.response, results)).await?;
        Ok(OwnedObjectPath::try_from(path).unwrap())
    }
}

#[test]
fn a_chart_is_saved_where_the_person_says() {
    let directory = tempfile::tempdir().unwrap();
    let (_server, address) = desk::bus(directory.path(), "session");
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let connect = async || Builder::address(address.as_str()).build().await.unwrap();
    let path = directory.path().join("Mein Bild.svg");
    let uri = format!("file://{}", path.display()).replace(' ', "%20");
    runtime.block_on(async {
        let session = connect().await;
        let portal = |response| {
            let person = Person { response, uri: uri.clone() };
            let place = "/org/freedesktop/portal/desktop";
            let builder = Builder::address(address.as_str()).serve_at(place, person);
            builder.name("org.freedesktop.portal.Desktop").build()
        };
        let there = portal(1).await.unwrap();
        assert_eq!(save(Some(&session), "StB/1", "<svg/>").await.unwrap(), None, "cancelled");
        assert!(!path.exists());
        there.close().await.unwrap();
        let there = portal(0).await.unwrap();
        assert_eq!(save(Some(&session), "StB/1", "<svg/>").await.unwrap(), Some(path.clone()));
        assert_eq!(fs::read_to_string(&path).unwrap(), "<svg/>");
        // The file chooser has asked before it names a file that is there.
        save(Some(&session), "StB/1", "<svg></svg>").await.unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "<svg></svg>");
        there.close().await.unwrap();
    });
}
