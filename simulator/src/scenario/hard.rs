//! Single difficulties, one a scenario: what each kind of network does to one flow.

use std::time::Duration;

use proto::units::{Bitrate, DataSize};

use super::Scenario;
use super::draft::{Draft, jitter, ms, secs};
use crate::link::plan::{GilbertElliott, Loss, Policer, Rate, Stalls};

/// The rate of most of them.
const FOUR: Bitrate = Bitrate::mbps(4);

/// All of them, in the order of tables.
pub(super) fn all() -> Vec<Scenario> {
    let mut all = vec![
        one("fixed-4m", "one flow, 4 Mbit/s, queue of 300 ms").done(),
        one("jitter-20", "delay varies with a standard deviation of 20 ms")
            .forward(|link| link.jitter = jitter(ms(20)))
            .done(),
        one("stalls-80", "the link stands still for 80 ms each 2.5 s, as Wi-Fi does")
            .forward(|link| link.stalls = Some(Stalls { every: ms(2_500), length: ms(80) }))
            .done(),
    ];
    for depth in [10, 20, 40] {
        let about = format!("4 Mbit/s with a queue of {depth} ms");
        all.push(one(&format!("shallow-{depth}"), &about).queue(ms(depth)).done());
    }
    all.push(
        Draft::new("shallow-1m-30", "1 Mbit/s with a queue of 30 ms", Bitrate::mbps(1))
            .queue(ms(30))
            .flow(|_| {})
            .done(),
    );
    all.push(
        Draft::new("policer-3m", "a policer of 3 Mbit/s and 30 kB before a fast link", Bitrate::mbps(100))
            .forward(|link| {
                link.policer = Some(Policer { rate: Bitrate::mbps(3), burst: DataSize::kilobytes(30) });
            })
            .flow(|_| {})
            .done(),
    );
    all.extend(losses());
    all.extend([
        one("bloat-1s", "a queue of 1 s").queue(ms(1_000)).done(),
        one("rtt-300", "a round trip of 300 ms").one_way(ms(150)).done(),
        step(),
        one("feedback-loss-30", "three in ten reports are lost")
            .backward(|link| link.loss = Loss::Independent(0.3))
            .done(),
        limited(),
        on_off(),
        startup("startup", "how fast a flow finds 4 Mbit/s, without jitter")
            .forward(|link| link.jitter = None)
            .done(),
        startup("startup-jitter", "how fast a flow finds 4 Mbit/s, with jitter").done(),
    ]);
    all
}

/// One flow on 4 Mbit/s.
fn one(name: &str, about: &str) -> Draft {
    Draft::new(name, about, FOUR).flow(|_| {})
}

/// Only the beginning, of which nothing is left out.
fn startup(name: &str, about: &str) -> Draft {
    one(name, about).lasting(20).warm_up(Duration::ZERO)
}

fn losses() -> Vec<Scenario> {
    let mut all = Vec::new();
    for percent in [1, 2, 5, 10] {
        let about = format!("{percent} % of the packets are lost by chance");
        let loss = Loss::Independent(f64::from(percent) / 100.0);
        all.push(one(&format!("random-{percent}"), &about).forward(|link| link.loss = loss).done());
    }
    // Bad states of 5 packets on average, half of which are lost: 2.4 % in all.
    let bursts = GilbertElliott { good_to_bad: 0.01, bad_to_good: 0.2, loss_good: 0.0, loss_bad: 0.5 };
    all.push(
        one("gilbert-elliott", "each 100 packets a bad time of 5 packets, half of which are lost")
            .forward(|link| link.loss = Loss::GilbertElliott(bursts))
            .done(),
    );
    all
}

fn step() -> Scenario {
    let steps = vec![(Duration::ZERO, FOUR), (secs(20), Bitrate::mbps(1)), (secs(40), FOUR)];
    one("step-4-1-4", "4 Mbit/s, from 20 s on 1 Mbit/s, from 40 s on 4 Mbit/s")
        .forward(|link| link.rate = Rate::Steps(steps))
        .done()
}

fn limited() -> Scenario {
    let caps = vec![
        (Duration::ZERO, Bitrate::mbps(100)),
        (secs(20), Bitrate::mbps(1)),
        (secs(60), Bitrate::mbps(100)),
    ];
    Draft::new("app-limited", "6 Mbit/s; from 20 s to 60 s the source makes 1 Mbit/s", Bitrate::mbps(6))
        .flow(|flow| flow.camera.caps = caps)
        .lasting(80)
        .done()
}

fn on_off() -> Scenario {
    let rates = (0..12).map(|turn| {
        let rate = if turn % 2 == 0 { Bitrate::ZERO } else { Bitrate::kbps(2_500) };
        (secs(5 * turn), rate)
    });
    one("cbr-on-off", "2.5 Mbit/s of constant traffic, on and off each 5 s").constant(rates.collect()).done()
}
