//! Datagrams that nobody asked for, at the server's media port during a call.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use proto::seed::Chance;
use tokio::net::UdpSocket;
use tokio::time::Instant;

use super::stage::{Entry, Probe, Stage, Video};
use crate::media::Camera;
use crate::relay::{self, LinkPlan, Relay};

const DATAGRAMS: usize = 100_000;
const STRANGERS: usize = 64; // addresses that they come from
const BURST: usize = 50;
const BURST_EVERY: Duration = Duration::from_millis(5); // 10,000 a second
const FRAME_RATE_MIN: f64 = 25.0;
const GROWTH_MAX: u64 = 20 * 1024 * 1024;
const REASONS_MIN: usize = 3;

/// A hundred thousand of four kinds: noise, truncated, replayed, spoofed.
pub(super) async fn hostile(stage: &mut Stage) -> Result<String> {
    stage.open(Camera::SMALL).await?;
    let target = stage.server()?.media();
    let relay = relay::symmetric(target, &LinkPlan::default(), &stage.seed)?;
    relay.capture()?;
    let entry = Entry { media_port: Some(relay.address().port()), ..Entry::default() };
    let pages = [stage.join("ann", &entry).await?, stage.join("bob", &entry).await?];
    for page in &pages {
        page.sees(1, Duration::from_secs(10)).await?;
    }
    tokio::time::sleep(Duration::from_secs(5)).await;

    let dropped_before = dropped(stage).await?;
    let memory_before = stage.server()?.memory()?;
    let mut before = Vec::new();
    for page in &pages {
        before.push(only(page.videos().await?)?);
    }
    let took = flood(target, &relay, &mut stage.seed.fork("hostile").generator()).await?;
    let mut worst = f64::MAX;
    for (page, old) in pages.iter().zip(&before) {
        let new = only(page.videos().await?)?;
        let rate = (new.decoded - old.decoded) / took.as_secs_f64();
        ensure!(rate >= FRAME_RATE_MIN, "{}: {rate:.1} frames a second: {new:?}", page.name());
        ensure!(new.freezes - old.freezes < 0.5, "{}: froze: {old:?} to {new:?}", page.name());
        worst = worst.min(rate);
    }
    tokio::time::sleep(Duration::from_secs(1)).await;
    stage.check_calm()?;
    let growth = stage.server()?.memory()?.saturating_sub(memory_before);
    ensure!(growth < GROWTH_MAX, "the server's memory grew by {} kB", growth / 1024);
    let counted = check_counters(&dropped_before, &dropped(stage).await?)?;
    Ok(format!("{worst:.1} frames a second at worst, {} kB grown; {counted}", growth / 1024))
}

fn only(videos: Vec<Video>) -> Result<Video> {
    ensure!(videos.len() == 1, "{} videos", videos.len());
    videos.into_iter().next().context("one video")
}

/// Sends them all, from many addresses; the replayed ones also from the addresses of the victims.
async fn flood(target: SocketAddr, relay: &Relay, chance: &mut Chance) -> Result<Duration> {
    let captured = relay.captured()?;
    ensure!(captured.len() > 500, "only {} datagrams captured", captured.len());
    let mut strangers = Vec::new();
    for _ in 0..STRANGERS {
        strangers.push(UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await?);
    }
    let started = Instant::now();
    for number in 0..DATAGRAMS {
        let stranger = &strangers[number % STRANGERS];
        let genuine = &captured[chance.number() as usize % captured.len()];
        match number % 5 {
            0 => drop(stranger.send_to(&noise(chance), target).await),
            1 => drop(stranger.send_to(&genuine[..chance.number() as usize % genuine.len()], target).await),
            2 => drop(stranger.send_to(genuine, target).await),
            3 => relay.inject(replayed_media(genuine).unwrap_or(&[0x80]))?,
            _ => relay.inject(&spoofed(genuine, chance))?,
        }
        if number % BURST == 0 {
            tokio::time::sleep_until(started + BURST_EVERY * (number / BURST) as u32).await;
        }
    }
    Ok(started.elapsed())
}

fn noise(chance: &mut Chance) -> Vec<u8> {
    let length = chance.number() as usize % 1_400;
    (0..length).map(|_| chance.number() as u8).collect()
}

/// RTP and RTCP only: a replayed STUN request is answered, as a repeated one must be.
fn replayed_media(genuine: &[u8]) -> Option<&[u8]> {
    genuine.first().is_some_and(|byte| (128..192).contains(byte)).then_some(genuine)
}

/// A genuine datagram with some bytes changed: its tag or its integrity cannot be right any more.
fn spoofed(genuine: &[u8], chance: &mut Chance) -> Vec<u8> {
    let mut datagram = genuine.to_vec();
    for _ in 0..4 {
        let at = chance.number() as usize % datagram.len();
        datagram[at] ^= 1 + (chance.number() % 255) as u8;
    }
    datagram
}

/// The counters of dropped datagrams by name and labels.
async fn dropped(stage: &Stage) -> Result<Vec<(String, f64)>> {
    let metrics = stage.server()?.metrics().await?;
    Ok(metrics.into_iter().filter(|(name, _)| name.contains("drop")).collect())
}

fn check_counters(before: &[(String, f64)], after: &[(String, f64)]) -> Result<String> {
    let mut grown = Vec::new();
    for (name, value) in after {
        let earlier = before.iter().find(|(earlier, _)| earlier == name).map_or(0.0, |(_, value)| *value);
        if *value > earlier {
            grown.push((name, value - earlier));
        }
    }
    let total: f64 = grown.iter().map(|(_, growth)| growth).sum();
    let list: Vec<String> = grown.iter().map(|(name, growth)| format!("{name} {growth}")).collect();
    let list = list.join(", ");
    ensure!(grown.len() >= REASONS_MIN, "only {} reasons counted: {list}", grown.len());
    ensure!(total >= DATAGRAMS as f64 / 2.0, "only {total} datagrams counted as dropped: {list}");
    Ok(list)
}
