//! The grids of RFC 8868 §4: one flow at each one-way delay, loss and queue size that it names.
//!
//! Names are `rfc8868-owd50-loss1-queue300` and the like. The way has NR-BPDV of 5 ms (§4.5.3), or of so much less that
//! its three deviations stay within the delay.

use proto::units::Bitrate;

use super::Scenario;
use super::draft::{Draft, jitter, ms};
use crate::link::plan::{GilbertElliott, Loss};

/// One-way propagation delays in milliseconds (§4.1).
const DELAYS: [u64; 4] = [1, 50, 150, 300];

/// Queue lengths in milliseconds: QoS-aware, nominal, buffer-bloated (§4.3).
const QUEUES: [u64; 3] = [70, 300, 1_000];

/// Losses (§4.4): independent ones in percent, and one in bursts.
const LOSSES: [&str; 6] = ["0", "1", "5", "10", "20", "ge"];

/// Every cell of the grid.
pub(super) fn all() -> Vec<Scenario> {
    let mut all = Vec::new();
    for delay in DELAYS {
        for loss in LOSSES {
            for queue in QUEUES {
                all.push(cell(delay, loss, queue));
            }
        }
    }
    all
}

fn cell(delay: u64, loss: &str, queue: u64) -> Scenario {
    let name = format!("rfc8868-owd{delay}-loss{loss}-queue{queue}");
    let about = format!("RFC 8868 §4: {delay} ms one way, loss {loss}, queue of {queue} ms");
    Draft::new(&name, &about, Bitrate::mbps(4))
        .one_way(ms(delay))
        .queue(ms(queue))
        .forward(|link| {
            link.jitter = jitter(ms(5).min(ms(delay) / 3));
            link.loss = match loss.parse::<f64>() {
                Ok(percent) if percent > 0.0 => Loss::Independent(percent / 100.0),
                Ok(_) => Loss::None,
                Err(_) => Loss::GilbertElliott(GilbertElliott {
                    good_to_bad: 0.01,
                    bad_to_good: 0.2,
                    loss_good: 0.0,
                    loss_bad: 0.5,
                }),
            };
        })
        .flow(|_| {})
        .done()
}
