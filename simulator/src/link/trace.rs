//! Traces of real networks as texts, and synthetic ones from a seed.
//!
//! In: a text, or a seed. Out: what a plan takes. Errors name the line. Limits: [`TEXT_MAX`], [`OPPORTUNITIES_MAX`],
//! [`TIME_MAX`], [`RATE_MAX`].
//!
//! Three formats: mahimahi's (a line each delivery opportunity of 1500 bytes, in whole milliseconds; the file repeats
//! after the last one), `seconds Mbit/s` (a line each measurement; its rate holds until the next line, the last one's
//! as long as the one before it), and losses (a line each packet, `0` or `1`; lost is `1`). Empty lines and what
//! follows a `#` are skipped.

use std::sync::Arc;
use std::time::Duration;

use proto::seed::Seed;
use proto::units::{Bitrate, DataSize};

use super::draw;
use super::plan::Opportunities;

/// No trace's text is longer: 64 MB.
pub const TEXT_MAX: usize = 64_000_000;

/// No trace has more opportunities or losses: two hours at 16 Mbit/s.
pub const OPPORTUNITIES_MAX: usize = 10_000_000;

/// No trace is longer: a day.
pub const TIME_MAX: Duration = Duration::from_secs(24 * 3_600);

/// No trace is faster: 100 Gbit/s.
pub const RATE_MAX: Bitrate = Bitrate::mbps(100_000);

/// What an opportunity carries in mahimahi's traces: a packet of Ethernet's MTU.
const OPPORTUNITY: DataSize = DataSize::bytes(1_500);

/// Why a text is no trace. Lines count from 1.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TraceError {
    /// Something is no number, or not one that can be here.
    #[error("line {line}: {found:?} is not {expected}")]
    NotANumber {
        /// Where.
        line: usize,
        /// What is there.
        found: String,
        /// What should be.
        expected: &'static str,
    },
    /// Times go back, or stand still where they must not.
    #[error("line {0}: its time is not after the one before")]
    Descending(usize),
    /// There is nothing in it.
    #[error("the trace is empty")]
    Empty,
    /// It never carries anything.
    #[error("the trace has zero capacity")]
    ZeroCapacity,
    /// It is beyond a limit.
    #[error("line {line}: more than {limit}")]
    TooLarge {
        /// Where; 0 if it is the text as a whole.
        line: usize,
        /// The limit.
        limit: &'static str,
    },
}

/// Reads mahimahi's format.
pub fn parse_mahimahi(text: &str) -> Result<Opportunities, TraceError> {
    let mut times: Vec<Duration> = Vec::new();
    for (line, content) in lines(text)? {
        let millis: u64 = number(line, content, "a whole number of milliseconds")?;
        let time = Duration::from_millis(millis);
        if times.last().is_some_and(|last| *last > time) {
            return Err(TraceError::Descending(line));
        }
        limit(line, time > TIME_MAX, "a day")?;
        limit(line, times.len() >= OPPORTUNITIES_MAX, "10 million opportunities")?;
        times.push(time);
    }
    let period = *times.last().ok_or(TraceError::Empty)?;
    if period.is_zero() {
        return Err(TraceError::ZeroCapacity); // all at once and never again: the file would repeat without end
    }
    Ok(Opportunities { size: OPPORTUNITY, times, period })
}

/// Writes mahimahi's format, times rounded to milliseconds.
pub fn write_mahimahi(trace: &Opportunities) -> String {
    trace.times.iter().fold(String::new(), |mut text, time| {
        text.push_str(&time.as_millis().to_string());
        text.push('\n');
        text
    })
}

/// A rate over a time, by measurement.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Measurements {
    /// The rate from each time on, ascending; the first is at zero.
    pub steps: Vec<(Duration, Bitrate)>,
    /// When the last one's rate ends.
    pub period: Duration,
}

/// Reads `seconds Mbit/s`. Times are shifted so that the first one is zero.
pub fn parse_seconds_mbit(text: &str) -> Result<Measurements, TraceError> {
    let mut steps: Vec<(Duration, Bitrate)> = Vec::new();
    let mut first = None;
    for (line, content) in lines(text)? {
        let mut fields = content.split_whitespace();
        let time = decimal(line, fields.next().unwrap_or_default(), "a time in seconds")?;
        let rate = decimal(line, fields.next().unwrap_or_default(), "a rate in Mbit/s")?;
        if let Some(found) = fields.next() {
            let found = found.to_owned();
            return Err(TraceError::NotANumber { line, found, expected: "the end of the line" });
        }
        let first = *first.get_or_insert(time);
        limit(line, time - first > TIME_MAX.as_secs_f64(), "a day")?;
        limit(line, rate > RATE_MAX.as_bps() as f64 / 1e6, "100 Gbit/s")?;
        let time = Duration::from_nanos(((time - first).max(0.0) * 1e9).round() as u64);
        if steps.last().is_some_and(|(last, _)| *last >= time) {
            return Err(TraceError::Descending(line));
        }
        steps.push((time, Bitrate::bps((rate * 1e6).round() as u64)));
    }
    let (last, _) = steps.last().ok_or(TraceError::Empty)?;
    if steps.iter().all(|(_, rate)| *rate == Bitrate::ZERO) {
        return Err(TraceError::ZeroCapacity);
    }
    let before = steps.iter().rev().nth(1).map(|(time, _)| *time);
    let period = *last + before.map_or(Duration::from_secs(1), |before| last.saturating_sub(before));
    Ok(Measurements { steps, period })
}

/// Reads a list of losses.
pub fn parse_losses(text: &str) -> Result<Arc<[bool]>, TraceError> {
    let mut fates = Vec::new();
    for (line, content) in lines(text)? {
        limit(line, fates.len() >= OPPORTUNITIES_MAX, "10 million packets")?;
        fates.push(match content {
            "0" => false,
            "1" => true,
            other => {
                let found = other.to_owned();
                return Err(TraceError::NotANumber { line, found, expected: "0 or 1" });
            }
        });
    }
    if fates.is_empty() {
        return Err(TraceError::Empty);
    }
    if fates.iter().all(|lost| *lost) {
        return Err(TraceError::ZeroCapacity);
    }
    Ok(fates.into())
}

impl Measurements {
    /// Delivery opportunities at these rates: a Poisson process within each second.
    ///
    /// A trace of one rate a second says nothing about what happens inside it. Here each second (or what there is of
    /// one between two measurements) has as many opportunities of 1500 bytes as its rate makes, the fraction carried
    /// over to the next, and they lie at independent, even times in it: that is a Poisson process whose count is known.
    /// So the capacity of each second is the trace's, and only the dispersion inside it comes from `seed`.
    pub fn opportunities(&self, seed: &Seed) -> Result<Opportunities, TraceError> {
        let mut chance = seed.fork("dispersion").generator();
        let mut times: Vec<Duration> = Vec::new();
        let mut owed = 0.0;
        let ends = self.steps.iter().skip(1).map(|(from, _)| *from).chain([self.period]);
        for (line, ((from, rate), end)) in (1..).zip(self.steps.iter().zip(ends)) {
            let span = end.saturating_sub(*from);
            let slices = span.as_secs_f64().ceil().max(1.0) as u32;
            let slice = span / slices;
            for index in 0..slices {
                owed += (rate.as_bps() as f64 * slice.as_secs_f64()) / OPPORTUNITY.as_bits() as f64;
                let count = owed.floor();
                owed -= count;
                limit(line, times.len() + count as usize > OPPORTUNITIES_MAX, "10 million opportunities")?;
                let (begin, sorted) = (*from + slice * index, times.len());
                times.extend((0..count as usize).map(|_| begin + slice.mul_f64(draw::uniform(&mut chance))));
                times[sorted..].sort_unstable();
            }
        }
        if times.is_empty() {
            return Err(TraceError::ZeroCapacity);
        }
        Ok(Opportunities { size: OPPORTUNITY, times, period: self.period })
    }
}

/// What a synthetic cell is like; see [`cellular`].
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Cellular {
    /// The mean rate, fades and all.
    pub mean: Bitrate,
    /// The standard deviation of the rate's natural logarithm: 0.5 wanders, 1 is a drive through a city.
    pub sigma: f64,
    /// How long the rate resembles itself.
    pub coherence: Duration,
    /// How often the signal fades away altogether (mean, exponential); `None` for never.
    pub fade_every: Option<Duration>,
    /// How long a fade lasts (mean, exponential).
    pub fade_length: Duration,
    /// How long the trace is.
    pub length: Duration,
}

impl Default for Cellular {
    /// In the manner of an LTE drive: 5 Mbit/s on average, a tenth of that at times, gaps of up to about a second.
    fn default() -> Self {
        Self {
            mean: Bitrate::mbps(5),
            sigma: 0.8,
            coherence: Duration::from_millis(800),
            fade_every: Some(Duration::from_secs(15)),
            fade_length: Duration::from_millis(300),
            length: Duration::from_secs(120),
        }
    }
}

/// A synthetic trace: opportunities on a grid of milliseconds, Poisson at a rate that is log-normal and correlated.
///
/// It is made of no recording, so it may go where recordings may not. Rate, fades and dispersion come from `seed`.
pub fn cellular(cell: &Cellular, seed: &Seed) -> Result<Opportunities, TraceError> {
    let slot = Duration::from_millis(20);
    let (mut wander, mut fades) = (seed.fork("wander").generator(), seed.fork("fades").generator());
    let keeps = (-slot.as_secs_f64() / cell.coherence.max(slot).as_secs_f64()).exp();
    let adds = (1.0 - keeps * keeps).sqrt();
    let mut value = draw::normal(&mut wander);
    let mut next_fade = |from: Duration| {
        let start = cell.fade_every.map(|every| from + draw::exponential(&mut fades, every));
        start.map(|start| (start, start + draw::exponential(&mut fades, cell.fade_length)))
    };
    let mut fade = next_fade(Duration::ZERO);
    let mut weights = Vec::new();
    let mut at = Duration::ZERO;
    while at < cell.length.min(TIME_MAX) {
        while let Some((_, end)) = fade.filter(|(_, end)| *end <= at) {
            fade = next_fade(end);
        }
        value = keeps * value + adds * draw::normal(&mut wander);
        let faded = fade.is_some_and(|(start, _)| start <= at);
        weights.push((at, if faded { 0.0 } else { (cell.sigma * value).exp() }));
        at += slot;
    }
    // Scaled so that this very trace has the mean asked for: what is left to chance is where the capacity lies.
    let sum: f64 = weights.iter().map(|(_, weight)| weight).sum();
    let scale = cell.mean.as_bps() as f64 * weights.len() as f64 / sum;
    if !scale.is_finite() {
        return Err(TraceError::ZeroCapacity);
    }
    let rate = |weight: f64| Bitrate::bps((scale * weight).round() as u64);
    let steps = weights.into_iter().map(|(at, weight)| (at, rate(weight))).collect();
    let mut trace = Measurements { steps, period: at }.opportunities(seed)?;
    for time in &mut trace.times {
        *time = Duration::from_millis(time.as_millis() as u64 + 1); // as a recorder that sees whole milliseconds
    }
    Ok(trace)
}

/// The lines that say something, with their numbers.
fn lines(text: &str) -> Result<impl Iterator<Item = (usize, &str)>, TraceError> {
    limit(0, text.len() > TEXT_MAX, "64 MB")?;
    Ok((1..)
        .zip(text.lines())
        .map(|(number, line)| (number, line.split('#').next().unwrap_or_default().trim()))
        .filter(|(_, line)| !line.is_empty()))
}

fn number(line: usize, found: &str, expected: &'static str) -> Result<u64, TraceError> {
    found.parse().map_err(|_| TraceError::NotANumber { line, found: found.to_owned(), expected })
}

/// A decimal number that is finite and not negative.
fn decimal(line: usize, found: &str, expected: &'static str) -> Result<f64, TraceError> {
    let value = found.parse().ok().filter(|value: &f64| value.is_finite() && *value >= 0.0);
    value.ok_or_else(|| TraceError::NotANumber { line, found: found.to_owned(), expected })
}

fn limit(line: usize, exceeded: bool, limit: &'static str) -> Result<(), TraceError> {
    if exceeded { Err(TraceError::TooLarge { line, limit }) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mahimahi_traces_are_read_and_written() {
        let trace = parse_mahimahi("0\n0\n# a comment\n7\n\n20 # the last one\n").unwrap();
        assert_eq!(trace.times, [0, 0, 7, 20].map(Duration::from_millis));
        assert_eq!(trace.period, Duration::from_millis(20));
        assert_eq!(parse_mahimahi(&write_mahimahi(&trace)), Ok(trace));
    }

    #[test]
    fn measured_rates_are_read_from_the_first_line_on() {
        let read = parse_seconds_mbit("0.5\t4.0\n1.5 0\n3.5 1.25\n").unwrap();
        let (ms, kbps) = (Duration::from_millis, Bitrate::kbps);
        assert_eq!(read.steps, [(ms(0), kbps(4_000)), (ms(1_000), kbps(0)), (ms(3_000), kbps(1_250))]);
        assert_eq!(read.period, ms(5_000));
    }

    #[test]
    fn losses_are_read_a_line_a_packet() {
        assert_eq!(parse_losses("0\n1\n1\n0\n").unwrap().to_vec(), [false, true, true, false]);
    }

    #[test]
    fn bad_traces_are_refused_with_their_line() {
        let mahimahi = |text: &str| parse_mahimahi(text).unwrap_err().to_string();
        let rates = |text: &str| parse_seconds_mbit(text).unwrap_err().to_string();
        let losses = |text: &str| parse_losses(text).unwrap_err().to_string();
        for (error, wanted) in [
            (mahimahi("1\nx\n"), "line 2: \"x\" is not a whole number of milliseconds"),
            (mahimahi("1\n-5\n"), "line 2: \"-5\" is not a whole number of milliseconds"),
            (mahimahi("1\n5\n4\n"), "line 3: its time is not after the one before"),
            (mahimahi("# nothing\n"), "the trace is empty"),
            (mahimahi("0\n0\n"), "the trace has zero capacity"),
            (mahimahi("86400001\n"), "line 1: more than a day"),
            (rates("0 1\n1 fast\n"), "line 2: \"fast\" is not a rate in Mbit/s"),
            (rates("0 1\n1 -2\n"), "line 2: \"-2\" is not a rate in Mbit/s"),
            (rates("0 1\n1\n"), "line 2: \"\" is not a rate in Mbit/s"),
            (rates("0 1 2\n"), "line 1: \"2\" is not the end of the line"),
            (rates("0 inf\n"), "line 1: \"inf\" is not a rate in Mbit/s"),
            (rates("0 1\n2 1\n1 1\n"), "line 3: its time is not after the one before"),
            (rates("0 1\n0 1\n"), "line 2: its time is not after the one before"),
            (rates("0 0\n1 0\n"), "the trace has zero capacity"),
            (rates("0 200000\n"), "line 1: more than 100 Gbit/s"),
            (rates("\n"), "the trace is empty"),
            (losses("0\n2\n"), "line 2: \"2\" is not 0 or 1"),
            (losses("1\n1\n"), "the trace has zero capacity"),
            (losses(""), "the trace is empty"),
        ] {
            assert_eq!(error, wanted);
        }
        let long = "1\n".repeat(TEXT_MAX / 2 + 1);
        assert_eq!(mahimahi(&long), "line 0: more than 64 MB");
    }

    #[test]
    fn the_dispersion_within_a_second_is_poissons_and_its_capacity_the_traces() {
        let lines: Vec<String> = (0..200).map(|second| format!("{second} {}", 3 + second % 5)).collect();
        let measured = parse_seconds_mbit(&lines.join("\n")).unwrap();
        let trace = measured.opportunities(&Seed::from_number(1)).unwrap();
        assert!(trace.times.is_sorted());
        let count = |from: Duration, to: Duration| {
            trace.times.partition_point(|at| *at < to) - trace.times.partition_point(|at| *at < from)
        };
        for second in 0..200_u32 {
            let wanted = f64::from(3 + second % 5) * 1e6 / 12_000.0;
            let found = count(Duration::from_secs(1) * second, Duration::from_secs(1) * (second + 1)) as f64;
            assert!((found - wanted).abs() <= 1.0, "second {second}: {found}, wanted {wanted}");
        }
        // In spans of 10 ms the counts vary as much as they are: variance over mean is 1 (a hundredth less, as the
        // second's count is known).
        let tens: Vec<(f64, f64)> = (0..20_000_u32)
            .map(|ten| (ten, f64::from(3 + ten / 100 % 5) * 1e4 / 12_000.0))
            .map(|(ten, mean)| {
                (count(Duration::from_millis(10) * ten, Duration::from_millis(10) * (ten + 1)) as f64, mean)
            })
            .collect();
        let dispersion =
            tens.iter().map(|(found, mean)| (found - mean).powi(2) / mean).sum::<f64>() / tens.len() as f64;
        assert!((dispersion - 0.99).abs() < 0.03, "{dispersion}");
        assert_eq!(measured.opportunities(&Seed::from_number(1)).unwrap(), trace);
        assert_ne!(measured.opportunities(&Seed::from_number(2)).unwrap(), trace);
    }

    #[test]
    fn a_synthetic_cell_has_its_mean_and_a_cells_manners() {
        let cell = Cellular::default();
        for number in 0..5 {
            let trace = cellular(&cell, &Seed::from_number(number)).unwrap();
            let mean = trace.mean().ratio(cell.mean);
            assert!((mean - 1.0).abs() < 0.001, "{mean}");
            assert!(trace.times.is_sorted());
            assert!(trace.times.last() <= Some(&trace.period));
            let gap = trace.times.windows(2).map(|pair| pair[1].saturating_sub(pair[0])).max().unwrap();
            assert!(gap > Duration::from_millis(100) && gap < Duration::from_secs(5), "{gap:?}");
            assert_eq!(cellular(&cell, &Seed::from_number(number)), Ok(trace));
        }
    }
}
