//! A plan, carried out: everybody joins, then window by window.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use proto::time::Instant;

use super::bare::{self, Orders};
use super::clock::{Clock, thread_time};
use super::generator::{Generator, Publishes};
use super::lianmai::metric;
use super::meter::{self, Usage};
use super::plan::{Load, Plan, Window};
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
    let mut generator = Generator::new(clock, plan.server.clone())?;
    generator.gather(plan.crowd)?;
    generator.publish(clock.now(), Publishes::Pictures);
    generator.run_until(clock.now() + Duration::from_secs_f64(plan.settle_s))?;
    let crowd = plan.crowd;
    let streams = usize::from(crowd.publishers) * crowd.slots + usize::from(crowd.subscribers);
    let brought = generator.streams();
    ensure!(crowd.publishers == 0 || brought == streams, "{brought} of {streams} streams came");
    let mut windows: Vec<Measured> = Vec::new();
    for window in &plan.windows {
        let last = windows.iter().rev().find(|one| one.counts.received > 0).cloned().unwrap_or_default();
        windows.push(measure(&mut generator, clock, plan, *window, &last)?);
    }
    Ok(Report { profile: generator.profile().to_owned(), windows })
}

/// One window; `last` is the last one in which the server sent.
fn measure(
    generator: &mut Generator,
    clock: Clock,
    plan: &Plan,
    window: Window,
    last: &Measured,
) -> Result<Measured> {
    let publishes = match window.load {
        Load::Server | Load::Misbehaving(_) => Publishes::Pictures,
        Load::Bare { .. } | Load::Nobody => Publishes::Nothing,
    };
    generator.publish(clock.now(), publishes);
    if let Load::Misbehaving(mischief) = window.load {
        generator.misbehave(clock.now(), mischief)?;
    }
    generator.run_until(clock.now() + BETWEEN)?;
    let process = plan.server.process;
    let (sent, calls) = runs(plan)?;
    generator.take();
    let (before, began, own, published) =
        (Usage::of(process)?, clock.now(), thread_time(), generator.published());
    let until = began + Duration::from_secs_f64(window.seconds);
    let bare = orders(generator, window.load, last, until)?
        .map(|orders| (orders.run, std::thread::spawn(move || bare::run(clock, &orders))));
    generator.run_until(until)?;
    let (now, usage) = (clock.now(), Usage::of(process)?.since(before));
    let mut measured = Measured {
        seconds: now.since(began).as_secs_f64(),
        published: generator.published() - published,
        usage,
        generator: meter::share(thread_time().saturating_sub(own), now.since(began)),
        ..Measured::default()
    };
    if let Some((run, thread)) = bare {
        let done = thread.join().ok().context("the bare loop panicked")??;
        measured.usage.media_ns = done.took.as_nanos() as u64;
        (measured.datagrams, measured.run) = (done.sent, run as f64);
        generator.run_until(clock.now() + BETWEEN / 4)?;
        let (came, _) = generator.take();
        measured.counts.received = 0;
        measured.bytes = came.bytes;
        measured.counts.lost = done.sent.saturating_sub(came.sunk);
        return Ok(measured);
    }
    let (came, counts) = generator.take();
    (measured.datagrams, measured.bytes, measured.counts) = (came.datagrams, came.bytes, counts);
    measured.p50_ms = came.delays.quantile_ms(0.5);
    measured.p95_ms = came.delays.quantile_ms(0.95);
    measured.p99_ms = came.delays.quantile_ms(0.99);
    let (sent, calls) = runs(plan).map(|(later, made)| (later - sent, made - calls))?;
    measured.run = if calls > 0.0 { sent / calls } else { 0.0 };
    Ok(measured)
}

/// What the bare loop shall do, if it sends in this window: as much as the server did in `last`.
fn orders(generator: &mut Generator, load: Load, last: &Measured, until: Instant) -> Result<Option<Orders>> {
    let Load::Bare { destinations, run, core } = load else { return Ok(None) };
    let destinations = generator.sinks(destinations)?;
    let run = if run > 0 { run } else { last.run.round().max(1.0) as usize };
    let rate = if last.seconds > 0.0 { last.datagrams as f64 / last.seconds } else { RATE };
    let size = last.bytes.checked_div(last.datagrams).unwrap_or(SIZE) as usize;
    Ok(Some(Orders { destinations, run, size, rate, until, core }))
}

/// Datagrams that the server sent, and in how many calls, by its own account; it publishes that once a second.
fn runs(plan: &Plan) -> Result<(f64, f64)> {
    let Some(metrics) = &plan.server.metrics else { return Ok((0.0, 0.0)) };
    Ok((
        metric(metrics, "lianmai_udp_sent_datagrams_total")?,
        metric(metrics, "lianmai_udp_sent_runs_total")?,
    ))
}
