//! A plan, carried out window by window; each party joins when its first one comes.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context, Result, ensure};

use super::bare::{self, Orders};
use super::clock::{Clock, thread_time};
use super::generator::{Generator, Publishes};
use super::lianmai::metric;
use super::meter::{self, Usage};
use super::plan::{Load, Party, Plan, Window};
use super::report::{Measured, Report};

/// After a change of who sends, before the next window.
const BETWEEN: Duration = Duration::from_millis(400);

/// Datagrams of a window with the bare loop, where nothing was measured before, a second.
const RATE: f64 = 10_000.0;

/// Their size, likewise, in bytes.
const SIZE: u64 = 1_200;

/// Carries out a plan.
pub fn run(plan: &Plan) -> Result<Report> {
    if let Some(core) = plan.core {
        meter::pin(core)?;
    }
    let clock = Clock::start();
    let mut run = Run {
        clock,
        generator: Generator::new(clock)?,
        plan,
        present: BTreeMap::new(),
        profiles: vec![String::new(); plan.parties.len()],
    };
    let mut windows: Vec<Measured> = Vec::new();
    for (place, window) in plan.windows.iter().enumerate() {
        let before = plan.windows[..place].iter().zip(&windows).rev();
        let mut before = before.filter(|(one, _)| one.party == window.party).map(|(_, measured)| measured);
        let last = before.find(|one| one.counts.received > 0).cloned().unwrap_or_default();
        windows.push(run.measure(*window, &last)?);
    }
    Ok(Report { profiles: run.profiles, windows })
}

struct Run<'a> {
    clock: Clock,
    generator: Generator,
    plan: &'a Plan,
    /// By their place in the plan: parties that have joined, with their place among those and the server's runs up to then.
    present: BTreeMap<usize, (usize, Runs)>,
    profiles: Vec<String>,
}

/// Datagrams that a server sent, and in how many calls, by its own account.
#[derive(Debug, Clone, Copy, Default)]
struct Runs {
    datagrams: f64,
    calls: f64,
}

impl Runs {
    /// As it was published last; that happens once a second.
    fn of(party: &Party) -> Result<Self> {
        let Some(metrics) = &party.server.metrics else { return Ok(Self::default()) };
        let datagrams = metric(metrics, "lianmai_udp_sent_datagrams_total")?;
        Ok(Self { datagrams, calls: metric(metrics, "lianmai_udp_sent_runs_total")? })
    }

    /// Datagrams in a call since `before`; 0 if there was none.
    fn length_since(self, before: Self) -> f64 {
        let calls = self.calls - before.calls;
        if calls > 0.0 { (self.datagrams - before.datagrams) / calls } else { 0.0 }
    }
}

impl Run<'_> {
    /// The party with this place in the plan joins, unless it is there, and publishes for a while.
    fn welcome(&mut self, place: usize) -> Result<(usize, Runs)> {
        if let Some(known) = self.present.get(&place) {
            return Ok(*known);
        }
        let party = self.plan.parties.get(place).context("a window of no party")?;
        let number = self.generator.gather(party.clone())?;
        self.generator.profile().clone_into(&mut self.profiles[place]);
        let known = (number, Runs::of(party)?);
        self.present.insert(place, known);
        self.generator.publish(self.clock.now(), number, Publishes::Pictures);
        self.generator.run_until(self.clock.now() + Duration::from_secs_f64(self.plan.settle_s))?;
        let crowd = party.crowd;
        let streams = usize::from(crowd.publishers) * crowd.slots + usize::from(crowd.subscribers);
        let brought = self.generator.streams();
        ensure!(crowd.publishers == 0 || brought == streams, "{brought} of {streams} streams came");
        Ok(known)
    }

    /// One window; `last` is the last one of its party in which the server sent.
    fn measure(&mut self, window: Window, last: &Measured) -> Result<Measured> {
        let (number, runs) = self.welcome(window.party)?;
        let party = &self.plan.parties[window.party];
        let publishes = match window.load {
            Load::Server | Load::Misbehaving(_) => Publishes::Pictures,
            Load::Bare { .. } | Load::Nobody => Publishes::Nothing,
        };
        self.generator.publish(self.clock.now(), number, publishes);
        if let Load::Misbehaving(mischief) = window.load {
            self.generator.misbehave(self.clock.now(), mischief)?;
        }
        self.generator.run_until(self.clock.now() + BETWEEN)?;
        if let Load::Bare { destinations, core, leaves } = window.load {
            let destinations = self.generator.sinks(destinations)?;
            let run = last.run.round().max(1.0) as usize;
            let until = self.clock.now() + Duration::from_secs_f64(window.seconds);
            let rate = if last.seconds > 0.0 { last.datagrams as f64 / last.seconds } else { RATE };
            let size = last.bytes.checked_div(last.datagrams).unwrap_or(SIZE) as usize;
            return self.measure_bare(Orders { destinations, run, leaves, size, rate, until, core });
        }
        let generator = &mut self.generator;
        generator.take();
        let process = party.server.process;
        let (before, began, own, published) =
            (Usage::of(process)?, self.clock.now(), thread_time(), generator.published());
        generator.run_until(began + Duration::from_secs_f64(window.seconds))?;
        let (now, usage) = (self.clock.now(), Usage::of(process)?.since(before));
        let own = thread_time().saturating_sub(own);
        let published = generator.published() - published;
        let (came, counts) = generator.take();
        Ok(Measured {
            seconds: now.since(began).as_secs_f64(),
            published,
            datagrams: came.datagrams,
            bytes: came.bytes,
            counts,
            p50_ms: came.delays.quantile_ms(0.5),
            p95_ms: came.delays.quantile_ms(0.95),
            p99_ms: came.delays.quantile_ms(0.99),
            delays: came.delays.histogram(),
            usage,
            generator: meter::share(own, now.since(began)),
            run: Runs::of(party)?.length_since(runs),
        })
    }

    /// A window of the bare loop, in a thread of its own: as much as the server did in the last one.
    fn measure_bare(&mut self, orders: Orders) -> Result<Measured> {
        self.generator.take();
        let (clock, began, until, run) = (self.clock, self.clock.now(), orders.until, orders.run);
        let thread = std::thread::spawn(move || bare::run(clock, &orders));
        let own = thread_time();
        self.generator.run_until(until)?;
        let generator = meter::share(thread_time().saturating_sub(own), until.since(began));
        let done = thread.join().ok().context("the bare loop panicked")??;
        self.generator.run_until(self.clock.now() + BETWEEN / 4)?;
        let (came, _) = self.generator.take();
        let mut measured = Measured {
            seconds: done.seconds,
            datagrams: done.measured,
            run: run as f64,
            generator,
            ..Measured::default()
        };
        measured.usage.media_ns = done.took.as_nanos() as u64;
        measured.counts.lost = done.sent.saturating_sub(came.sunk);
        Ok(measured)
    }
}
