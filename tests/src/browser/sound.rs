//! Sound over networks that lose a tenth of all packets: RED towards listeners, and from senders.

use std::time::Duration;

use anyhow::{Result, ensure};
use emulator::relay::{Relay, RelayConfig};
use proto::seed::Seed;
use simulator::link::LinkPlan;
use simulator::link::plan::Loss;

use super::stage::{Entry, Listened, Probe, Sound, Stage};
use crate::chromium::Page;
use crate::media::Camera;

const LOSS: f64 = 0.1;
const SETTLES: Duration = Duration::from_secs(8); // until losses are known, and playout has made room for repeats
const MEASURED: Duration = Duration::from_secs(20); // a thousand packets, a hundred of them lost
const CONNECTS_WITHIN: Duration = Duration::from_secs(15);
const CALM_WITHIN: Duration = Duration::from_secs(90); // the estimate of losses forgets slowly what it is sure of
const LOST: std::ops::Range<f64> = 0.06..0.14;
const CONCEALED_MAX: f64 = 0.02;

/// One listener that takes RED and one that does not, behind the same losses, and one behind none.
pub(super) async fn listener(stage: &mut Stage) -> Result<String> {
    stage.open(Camera::SMALL).await?;
    let relays = [relay(stage, "red", Way::Down)?, relay(stage, "plain", Way::Down)?];
    let entry = |relay: &Relay, sound| {
        let media_port = Some(relay.address().port());
        Entry { media_port, sound, ..Entry::default() }
    };
    let near = stage.join("ann", &Entry::default()).await?;
    let plain = stage.join("cyd", &entry(&relays[1], Sound::PlainOnly)).await?;
    near.sees(1, CONNECTS_WITHIN).await?;
    tokio::time::sleep(SETTLES).await;
    let before = red_packets(stage).await?;
    ensure!(before == 0, "{before} packets of RED although nobody who loses any takes it");

    let red = stage.join("bob", &entry(&relays[0], Sound::TakesRed)).await?;
    for page in [&red, &plain] {
        page.sees(2, CONNECTS_WITHIN).await?;
    }
    tokio::time::sleep(SETTLES).await;
    let (red, plain, near) = tokio::try_join!(listen(&red), listen(&plain), listen(&near))?;
    let sent = red_packets(stage).await?;
    let report = format!(
        "concealed {:.2} % with RED, {:.2} % without, {:.2} % where nothing is lost; {sent} packets of RED",
        red.concealed * 100.0,
        plain.concealed * 100.0,
        near.concealed * 100.0
    );
    ensure!(LOST.contains(&red.lost) && LOST.contains(&plain.lost), "{report}: {red:?}, {plain:?}");
    ensure!(sent > 500, "{report}: RED is hardly there");
    ensure!(red.concealed < plain.concealed / 2.0, "{report}");

    relays[0].set_links(LinkPlan::default(), LinkPlan::default())?;
    let calm = until_calm(stage).await?;
    Ok(format!("{report}, none any more {:.0} s after the losses", calm.as_secs_f64()))
}

/// A sender of RED behind losses, and a listener who knows no RED.
pub(super) async fn sender(stage: &mut Stage) -> Result<String> {
    stage.open(Camera::SMALL).await?;
    let relay = relay(stage, "sender", Way::Up)?;
    let media_port = Some(relay.address().port());
    let far = stage.join("ann", &Entry { media_port, sound: Sound::SendsRed, ..Entry::default() }).await?;
    let near = stage.join("bob", &Entry { sound: Sound::PlainOnly, ..Entry::default() }).await?;
    near.sees(1, CONNECTS_WITHIN).await?;
    far.sees(1, CONNECTS_WITHIN).await?;
    tokio::time::sleep(SETTLES).await;
    let before = counted(stage, "lianmai_fec_recovered_total").await?;
    let heard = listen(&near).await?;
    let restored = counted(stage, "lianmai_fec_recovered_total").await? - before;
    let counts = relay.counts()?.up;
    let lost = counts.lost() as f64 / (counts.lost() + counts.passed) as f64;
    let report = format!(
        "concealed {:.2} %, {:.2} % never came, of {:.1} % lost on the way up, {restored} packets restored",
        heard.concealed * 100.0,
        heard.lost * 100.0,
        lost * 100.0
    );
    ensure!((LOSS * 0.8..LOSS * 1.2).contains(&lost) && restored > 50, "{report}");
    ensure!(heard.concealed < CONCEALED_MAX && heard.lost < 0.03, "{report}");
    Ok(report)
}

/// Where packets are lost.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Way {
    /// On the way to the server.
    Up,
    /// On the way from it.
    Down,
}

fn relay(stage: &Stage, name: &str, way: Way) -> Result<Relay> {
    let delay = Duration::from_millis(20);
    let clean = LinkPlan { delay, ..LinkPlan::default() };
    let lossy = LinkPlan { loss: Loss::Independent(LOSS), ..clean.clone() };
    let (up, down) = if way == Way::Up { (lossy, clean) } else { (clean, lossy) };
    let seed: Seed = stage.seed.fork(name);
    Ok(Relay::start(RelayConfig { up, down, seed, ..RelayConfig::new(stage.server()?.media()) })?)
}

/// What became of a remote sound for a while, as shares of it.
#[derive(Debug, Clone, Copy)]
struct Shares {
    concealed: f64,
    lost: f64,
}

/// How a page hears those that it hears.
async fn listen(page: &Page) -> Result<Shares> {
    let old = page.sounds().await?;
    tokio::time::sleep(MEASURED).await;
    let new = page.sounds().await?;
    ensure!(!new.is_empty() && old.len() == new.len(), "{}: {old:?}, then {new:?}", page.name());
    let more =
        |part: fn(&Listened) -> f64| new.iter().map(part).sum::<f64>() - old.iter().map(part).sum::<f64>();
    let (samples, received, lost) = (more(|one| one.samples), more(|one| one.received), more(|one| one.lost));
    Ok(Shares { concealed: more(|one| one.concealed) / samples, lost: lost / (lost + received) })
}

/// How many packets of RED the server has sent.
async fn red_packets(stage: &Stage) -> Result<u64> {
    counted(stage, "lianmai_red_packets_total").await
}

/// A counter of the server's, over all its workers.
async fn counted(stage: &Stage, name: &str) -> Result<u64> {
    let metrics = stage.server()?.metrics().await?;
    let counts: Vec<f64> =
        metrics.iter().filter(|(key, _)| key.starts_with(name)).map(|(_, count)| *count).collect();
    ensure!(!counts.is_empty(), "the server does not count {name}");
    Ok(counts.iter().sum::<f64>() as u64)
}

/// Waits until the server sends no more RED.
async fn until_calm(stage: &Stage) -> Result<Duration> {
    let mut waited = Duration::ZERO;
    let mut last = red_packets(stage).await?;
    while waited < CALM_WITHIN {
        tokio::time::sleep(Duration::from_secs(3)).await;
        waited += Duration::from_secs(3);
        let now = red_packets(stage).await?;
        if now == last {
            return Ok(waited);
        }
        last = now;
    }
    anyhow::bail!("RED is still sent {CALM_WITHIN:?} after the losses")
}
