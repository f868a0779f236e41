//! The grid of loss recovery: round trip, deadline, loss, burst and picture size, one flow of a constant rate.
//!
//! Names are `loss-rtt60-d150-p2-iid-k12`: a round trip of 60 ms, pictures too late after 150 ms, 2 % of the packets
//! lost independently (`L3`, `L8`: in bursts of that many packets on average; `outage`: the link is away for 50 ms at a
//! time), and 12 packets a picture. There is no bottleneck: what is measured is recovery.

use std::time::Duration;

use proto::units::Bitrate;

use super::Scenario;
use super::draft::{Draft, ms, secs};
use crate::link::LinkPlan;
use crate::link::plan::{GilbertElliott, Loss, Outage, Rate};
use crate::media::PAYLOAD_MAX;
use cc::RateLimits;

/// Round trips in milliseconds.
const RTTS: [u64; 6] = [10, 30, 60, 100, 200, 400];
/// Deadlines in milliseconds.
const DEADLINES: [u64; 6] = [60, 100, 150, 250, 400, 800];
/// Losses in percent.
const LOSSES: [&str; 8] = ["0", "0.5", "1", "2", "5", "10", "20", "30"];
/// How losses cluster.
const BURSTS: [&str; 4] = ["iid", "L3", "L8", "outage"];
/// Packets a picture.
const FRAMES: [u64; 5] = [1, 4, 12, 32, 48];

/// A full packet's size on the wire, in bytes.
const PACKET: u64 = 1_248;

/// Every cell of the grid: 5760 scenarios.
pub(super) fn all() -> impl Iterator<Item = Scenario> {
    let rtts = RTTS.into_iter().flat_map(|rtt| DEADLINES.into_iter().map(move |deadline| (rtt, deadline)));
    let losses = rtts.flat_map(|way| LOSSES.into_iter().map(move |loss| (way, loss)));
    let bursts = losses.flat_map(|way| BURSTS.into_iter().map(move |burst| (way, burst)));
    let cells = bursts.flat_map(|way| FRAMES.into_iter().map(move |packets| (way, packets)));
    cells.filter_map(|((((rtt, deadline), loss), burst), packets)| cell(rtt, deadline, loss, burst, packets))
}

/// The cell of a name, of the grid or beside it.
pub(super) fn find(name: &str) -> Option<Scenario> {
    let mut parts = name.strip_prefix("loss-rtt")?.splitn(5, '-');
    let rtt = parts.next()?.parse().ok()?;
    let deadline = parts.next()?.strip_prefix('d')?.parse().ok()?;
    let loss = parts.next()?.strip_prefix('p')?;
    let burst = parts.next()?;
    let packets = parts.next()?.strip_prefix('k')?.parse().ok()?;
    let sane = (1..=10_000).contains(&rtt) && (1..=60_000).contains(&deadline) && (1..=48).contains(&packets);
    sane.then(|| cell(rtt, deadline, loss, burst, packets)).flatten()
}

fn cell(rtt: u64, deadline: u64, loss: &str, burst: &str, packets: u64) -> Option<Scenario> {
    let name = format!("loss-rtt{rtt}-d{deadline}-p{loss}-{burst}-k{packets}");
    let share = loss.parse::<f64>().ok().filter(|percent| (0.0..100.0).contains(percent))? / 100.0;
    let rate = Bitrate::bps(packets * PACKET * 8 * 30);
    let media = Bitrate::bps(packets * PAYLOAD_MAX.as_bytes() * 8 * 30);
    let about = format!(
        "{rtt} ms round trip, {deadline} ms to complete, {loss} % lost ({burst}), {packets} packets a picture"
    );
    let mut way =
        LinkPlan { rate: Rate::Constant(Bitrate::mbps(1_000)), delay: ms(rtt) / 2, ..LinkPlan::default() };
    lose(&mut way, share, burst)?;
    let draft =
        Draft::new(&name, &about, Bitrate::mbps(1_000)).one_way(ms(rtt) / 2).forward(|link| *link = way);
    let draft = draft.deadline(ms(deadline)).flow(|flow| {
        // Repair comes on top: what pictures take is stated by their source alone.
        flow.limits = RateLimits { min: rate * 3, start: rate * 3, max: rate * 3 };
        flow.camera.caps = vec![(Duration::ZERO, media)];
        flow.camera.variation = 0.0;
        flow.repair = true;
    });
    Some(draft.done())
}

/// Losses of a share and shape; `None` if there is no such shape.
fn lose(link: &mut LinkPlan, share: f64, burst: &str) -> Option<()> {
    if burst == "outage" {
        if share > 0.0 {
            let length = ms(50);
            let every = length.div_f64(share);
            // The first comes after half a turn; a run lasts a minute, of which 5 s are left out.
            let starts = (0u32..).map(|turn| every / 2 + every * turn).take_while(|start| *start < secs(60));
            link.outages = starts.map(|start| Outage { start, length }).collect();
        }
        return Some(());
    }
    let length: f64 = if burst == "iid" { 1.0 } else { burst.strip_prefix('L')?.parse().ok()? };
    if share > 0.0 {
        link.loss = if burst == "iid" {
            Loss::Independent(share)
        } else {
            let bad_to_good = 1.0 / length.max(1.0);
            Loss::GilbertElliott(GilbertElliott {
                good_to_bad: (share * bad_to_good / (1.0 - share)).min(1.0),
                bad_to_good,
                loss_good: 0.0,
                loss_bad: 1.0,
            })
        };
    }
    Some(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_find_their_cells_and_nonsense_finds_none() {
        for scenario in all().step_by(97) {
            assert_eq!(find(&scenario.name).as_ref(), Some(&scenario), "{}", scenario.name);
        }
        for name in [
            "loss-rtt60-d150-p2-iid",
            "loss-rtt60-d150-p200-iid-k4",
            "loss-rtt60-d150-p2-X3-k4",
            "loss-rtt0-d1-p1-iid-k1",
        ] {
            assert_eq!(find(name), None, "{name}");
        }
    }
}
