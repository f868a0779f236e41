//! The page's readings: drawn over time in each tile, with what the server says, which is asked only while somebody looks.

use std::time::Duration;

use anyhow::{Result, ensure};

use super::stage::{Entry, Probe, Stage};
use crate::chromium::Page;
use crate::media::Camera;

const SAYS_WITHIN: Duration = Duration::from_secs(8); // the server is asked every two seconds
const LOOKED_FOR: Duration = Duration::from_secs(5);

/// How often the page has asked the server.
const ASKED: &str =
    "performance.getEntriesByType('resource').filter(({ name }) => name.includes('/v1/rooms/')).length";

/// A server that lets nobody look, as the page sees it; other requests go on.
const REFUSE: &str = "
    const answer = window.fetch.bind(window);
    window.refused = 0;
    window.fetch = (address, options) => {
        if (!String(address).includes('/v1/rooms/')) return answer(address, options);
        window.refused += 1;
        return Promise.resolve(new Response('{\"status\":403}', { status: 403 }));
    };
";

/// One looks at what its tiles receive and at what its own sends, and looks away; the other is refused.
pub(super) async fn stats(stage: &mut Stage) -> Result<String> {
    stage.open(Camera::SMALL).await?;
    let refused = stage.join("ann", &Entry::default()).await?;
    let viewer = stage.join("bob", &Entry::default()).await?;
    viewer.sees(1, Duration::from_secs(15)).await?;
    tokio::time::sleep(LOOKED_FOR).await;
    let unasked: usize = viewer.eval(ASKED).await?;
    ensure!(unasked == 0, "asked {unasked} times before anybody looked");

    let before = click_and_wait(&viewer).await?;
    let drawn = drawn(&viewer).await?;
    viewer.run("document.querySelector('#stats').click()").await?;
    let asked: usize = viewer.eval(ASKED).await?;
    tokio::time::sleep(LOOKED_FOR).await;
    let after: usize = viewer.eval(ASKED).await?;
    ensure!(after <= asked + 1, "asked {} times after everybody looked away", after - asked);

    refused.run(REFUSE).await?;
    refused.run("document.querySelector('#stats').click()").await?;
    refused.wait_for("the browser's own readings stand alone", &text("self", "RTT"), SAYS_WITHIN).await?;
    tokio::time::sleep(LOOKED_FOR).await;
    let (tries, lines): (usize, usize) =
        refused.eval("[window.refused, document.querySelectorAll('.readings-lines .server').length]").await?;
    ensure!((tries, lines) == (1, 0), "asked {tries} times though refused, {lines} lines of the server's");
    Ok(format!("said after {} ms, asked {asked} times, {drawn} of a tile's points drawn", before.as_millis()))
}

/// Opens the readings; the server's part comes.
async fn click_and_wait(viewer: &Page) -> Result<Duration> {
    viewer.run("document.querySelector('#stats').click()").await?;
    for (claim, tile, words) in [
        ("what the path carries", "other", "estimate \\\\d+(\\\\.\\\\d)? [kM]bit/s"),
        ("what the other's tile is sent", "other", "sent \\\\w"),
        ("what the server gets", "self", "server gets [1-9]\\\\d* kbit/s"),
    ] {
        viewer.wait_for(claim, &text(tile, words), SAYS_WITHIN).await?;
    }
    viewer.wait_for("the server says it again", &format!("{ASKED} >= 3 || {ASKED}"), SAYS_WITHIN).await
}

/// Whether the server's or the browser's lines of a tile match.
fn text(tile: &str, words: &str) -> String {
    let selector = if tile == "self" { ".tile.self" } else { ".tile:not(.self)" };
    format!(
        "((lines) => new RegExp('{words}').test(lines) || lines)(
            document.querySelector('{selector} .readings-lines')?.innerText ?? 'no tile')"
    )
}

/// In how many columns the curve of the other's tile is drawn.
async fn drawn(viewer: &Page) -> Result<usize> {
    let columns: usize = viewer
        .eval(
            "(() => {
                const canvas = document.querySelector('.tile:not(.self) .readings canvas');
                const { width, height } = canvas;
                const { data } = canvas.getContext('2d').getImageData(0, 0, width, height);
                const isDrawn = (x) => [...Array(height).keys()].some((y) => data[(y * width + x) * 4 + 3] > 0);
                return [...Array(width).keys()].filter(isDrawn).length;
            })()",
        )
        .await?;
    ensure!(columns >= 10, "{columns} columns are drawn after several seconds");
    Ok(columns)
}
