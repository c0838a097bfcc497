//! Pages in a browser, and without a network.

use std::process::{Command, Stdio};

use resvg::tiny_skia::Pixmap;

use super::support::Place;

/// A browser without a window.
pub(crate) struct Browser(&'static str);

impl Browser {
    /// The browser, where there is one.
    pub(crate) fn find() -> Option<Self> {
        let there = |name: &&str| {
            let version = Command::new(name).arg("--version").stdout(Stdio::null()).status();
            version.is_ok_and(|status| status.success())
        };
        ["chromium", "chromium-browser", "google-chrome"].into_iter().find(there).map(Self)
    }

    /// The document that the browser makes of a page.
    pub(crate) fn dom(&self, place: &Place, page: &str) -> String {
        self.open(place, page, "--dump-dom")
    }

    /// What the browser shows of a page.
    pub(crate) fn screenshot(&self, place: &Place, page: &str) -> Pixmap {
        let picture = place.path("page.png");
        self.open(place, page, &format!("--screenshot={}", picture.display()));
        Pixmap::decode_png(&std::fs::read(picture).unwrap()).unwrap()
    }

    fn open(&self, place: &Place, page: &str, arg: &str) -> String {
        let mut command = Command::new(self.0);
        command.args(["--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars"]);
        command.arg(format!("--user-data-dir={}", place.path("browser").display()));
        command.args(["--window-size=1100,2400", arg]);
        command.arg(format!("file://{}", place.path(page).display()));
        let output = command.output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    }
}

/// Asserts that a page loads nothing and that all its links lead to files beside it; gives the number of the links.
pub(crate) fn needs_no_network(place: &Place, page: &str) -> usize {
    // Pictures may be part of the page.
    let html = place.text(page).replace("src=\"data:image/png;base64,", "");
    let loads = ["src=", "<link", "<script", "@import", "url(http"];
    assert!(loads.iter().all(|load| !html.contains(load)), "{page} needs a network");
    let folder = place.path(page).parent().unwrap().to_owned();
    let links: Vec<&str> =
        html.split("href=\"").skip(1).map(|rest| rest.split('"').next().unwrap()).collect();
    for link in &links {
        assert!(folder.join(link).is_file(), "{page}: {link} is not there");
    }
    links.len()
}
