//! Everyone sees and hears everyone: frames, colors, sound.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, ensure};

use super::stage::{Encoding, Entry, Probe, Stage, Video};
use crate::chromium::Page;
use crate::media::{Camera, FRAMES, Palette, TONE_HZ};

const MEASURED: Duration = Duration::from_secs(10);
const SETTLES: Duration = Duration::from_secs(5); // until estimates have grown to the layers that are measured
const SHARE_MIN: f64 = 0.9; // of the frames sent, decoded
const FRAME_RATE_MIN: f64 = 20.0; // sent: else nine tenths of nothing would pass
const COLOR_TOLERANCE: u8 = 20; // of 255; two lossy steps cost about 3, another color matrix 25
const TONE_TOLERANCE_HZ: f64 = 20.0; // three bins of the spectrum
const TONE_ABOVE_DB: f64 = 30.0;

/// `people` pages in one room, each sending `codec`.
pub(super) async fn flows(stage: &mut Stage, codec: &str, people: usize) -> Result<String> {
    stage.open(Camera::SMALL).await?;
    let entry = Entry { codec, ..Entry::default() };
    let mut pages = Vec::new();
    for name in &["ann", "bob", "cyd"][..people] {
        pages.push(stage.join(name, &entry).await?);
    }
    everyone_sees_everyone(&pages, codec).await
}

/// That each of `pages` sees and hears all the others, who send `codec`.
pub(super) async fn everyone_sees_everyone(pages: &[Arc<Page>], codec: &str) -> Result<String> {
    let people = pages.len();
    for page in pages {
        page.sees(people - 1, Duration::from_secs(10)).await?;
    }
    tokio::time::sleep(SETTLES).await;

    let before = look(pages).await?;
    tokio::time::sleep(MEASURED).await;
    let after = look(pages).await?;
    let shares = shares(codec, &before, &after)?;
    for page in pages {
        check_pictures(page, people - 1).await?;
        check_sound(page, people - 1).await?;
        let shown: usize = page.eval("probe.shown()").await?;
        ensure!(shown >= people, "{}: the page shows {shown} videos of {people}", page.name());
    }
    let worst = shares.iter().copied().fold(1.0, f64::min);
    Ok(format!("{:.0} % of the frames decoded at worst", worst * 100.0))
}

struct Look {
    name: String,
    id: String,
    sent: Vec<Encoding>,
    videos: Vec<Video>,
    seats: BTreeMap<String, String>,
}

async fn look(pages: &[Arc<Page>]) -> Result<Vec<Look>> {
    let mut looks = Vec::new();
    for page in pages {
        looks.push(Look {
            name: page.name().to_owned(),
            id: page.eval("probe.me()").await?,
            sent: page.sent().await?,
            videos: page.videos().await?,
            seats: page.eval("probe.seats()").await?,
        });
    }
    Ok(looks)
}

/// For every remote video of every page: frames decoded of those that its sender sent in that size.
fn shares(codec: &str, before: &[Look], after: &[Look]) -> Result<Vec<f64>> {
    let people = before.len();
    let mut shares = Vec::new();
    for (old, new) in before.iter().zip(after) {
        let name = &new.name;
        ensure!(new.videos.len() == people - 1, "{name}: {} of {} videos", new.videos.len(), people - 1);
        for video in &new.videos {
            ensure!(video.codec.eq_ignore_ascii_case(&format!("video/{codec}")), "{name}: {video:?}");
            let earlier = old.videos.iter().find(|earlier| earlier.mid == video.mid);
            let decoded = video.decoded - earlier.map_or(0.0, |earlier| earlier.decoded);
            let seat = new.seats.get(&video.mid);
            let sender = after.iter().position(|look| Some(&look.id) == seat);
            let sender = sender.with_context(|| format!("{name}: nobody known is in {}", video.mid))?;
            let sent = frames_sent(video.width, &before[sender].sent, &after[sender].sent);
            let from = &after[sender].name;
            let rate = sent / MEASURED.as_secs_f64();
            ensure!(
                rate >= FRAME_RATE_MIN,
                "{from} sends only {rate:.1} frames a second: {:?}",
                after[sender].sent
            );
            let share = decoded / sent;
            ensure!(share >= SHARE_MIN, "{name}: {decoded} of {from}'s {sent} frames decoded: {video:?}");
            shares.push(share);
        }
    }
    Ok(shares)
}

/// The frames sent meanwhile in the encoding of this width, or in the busiest one if no width fits.
fn frames_sent(width: u32, before: &[Encoding], after: &[Encoding]) -> f64 {
    let sent = |encoding: &Encoding| {
        let earlier = before.iter().find(|earlier| earlier.rid == encoding.rid);
        encoding.frames - earlier.map_or(0.0, |earlier| earlier.frames)
    };
    let fits = |encoding: &&Encoding| encoding.width.abs_diff(width) <= width / 50;
    let all = after.iter().map(sent).fold(0.0, f64::max);
    after.iter().filter(fits).map(sent).reduce(f64::max).unwrap_or(all)
}

async fn check_pictures(page: &Page, videos: usize) -> Result<()> {
    let name = page.name();
    let pictures = page.pictures().await?;
    ensure!(pictures.len() == videos, "{name}: {} pictures of {videos}", pictures.len());
    tokio::time::sleep(Duration::from_millis(400)).await;
    let later = page.pictures().await?;
    for (picture, next) in pictures.iter().zip(&later) {
        for (found, expected) in picture.patches.iter().zip(Palette::Primary.patches_rgb()) {
            let off = found.iter().zip(expected).map(|(a, b)| a.abs_diff(b)).max().unwrap_or(255);
            ensure!(off <= COLOR_TOLERANCE, "{name}: a patch is {found:?}, not {expected:?}");
        }
        let (Some(number), Some(next)) = (picture.number, next.number) else {
            anyhow::bail!("{name}: no bar code in {picture:?} or {next:?}")
        };
        let advance = (next + FRAMES - number) % FRAMES;
        ensure!((6..=40).contains(&advance), "{name}: {advance} frames further after 400 ms");
    }
    Ok(())
}

async fn check_sound(page: &Page, tracks: usize) -> Result<()> {
    let name = page.name();
    let tones = page.tones().await?;
    ensure!(tones.len() == tracks, "{name}: hears {} of {tracks}: {tones:?}", tones.len());
    for tone in tones {
        let right = (tone.hertz - TONE_HZ).abs() <= TONE_TOLERANCE_HZ && tone.above_db >= TONE_ABOVE_DB;
        ensure!(right, "{name}: {tone:?} is not a tone of {TONE_HZ} Hz");
    }
    Ok(())
}
