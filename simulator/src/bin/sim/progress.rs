//! Progress on the standard error: a bar on a terminal, else a line now and then.

use std::io::{IsTerminal, stderr};
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};

use crate::clock;

/// How long there is silence between two lines where there is no terminal.
const BETWEEN_LINES: Duration = Duration::from_secs(15);

/// How far a number of runs is. What counts is simulated time: runs differ in length.
pub(crate) struct Progress {
    bar: Option<ProgressBar>,
    started: Instant,
    told: Instant,
    runs: (usize, usize),
    simulated: (f64, f64),
}

impl Progress {
    /// Of so many runs with so much simulated time together.
    pub(crate) fn new(runs: usize, simulated: Duration) -> Self {
        let bar = (runs > 1 && stderr().is_terminal()).then(|| {
            let style =
                ProgressStyle::with_template("{bar:32} {percent:>3} %  {msg}").expect("a good template");
            ProgressBar::new(simulated.as_millis() as u64).with_style(style)
        });
        let now = clock::now();
        let simulated = (0.0, simulated.as_secs_f64());
        Self { bar, started: now, told: now, runs: (0, runs), simulated }
    }

    /// A run that simulated so much time is over.
    pub(crate) fn advance(&mut self, simulated: Duration) {
        self.runs.0 += 1;
        self.simulated.0 += simulated.as_secs_f64();
        let now = clock::now();
        let left = left(now - self.started, self.simulated.0, self.simulated.1);
        let message = format!("{} of {} runs, {} left", self.runs.0, self.runs.1, shown(left));
        if let Some(bar) = &self.bar {
            bar.inc(simulated.as_millis() as u64);
            bar.set_message(message);
        } else if now - self.told >= BETWEEN_LINES {
            self.told = now;
            eprintln!("{message}");
        }
    }

    /// Does something that writes lines, out of the bar's way.
    pub(crate) fn aside<T>(&self, write: impl FnOnce() -> T) -> T {
        match &self.bar {
            Some(bar) => bar.suspend(write),
            None => write(),
        }
    }

    /// Tells how long it took, if it was more than one run.
    pub(crate) fn finish(&self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
        if self.runs.1 > 1 {
            let took = self.started.elapsed();
            let speed = self.simulated.0 / took.as_secs_f64().max(1e-9);
            eprintln!("{} runs in {}, {speed:.0} times as fast as real time", self.runs.0, shown(took));
        }
    }
}

/// How long the rest takes if it goes on as it did.
fn left(elapsed: Duration, done: f64, total: f64) -> Duration {
    if done <= 0.0 { Duration::ZERO } else { elapsed.mul_f64(((total - done) / done).max(0.0)) }
}

/// A time to the second.
fn shown(time: Duration) -> String {
    match time.as_secs_f64().round() as u64 {
        seconds @ 0..60 => format!("{seconds} s"),
        seconds @ 60..3_600 => format!("{} min {:02} s", seconds / 60, seconds % 60),
        seconds => format!("{} h {:02} min", seconds / 3_600, seconds % 3_600 / 60),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_time_left_is_what_the_rest_takes_at_the_same_speed() {
        let secs = Duration::from_secs;
        for (elapsed, done, total, rest, text) in [
            (secs(10), 25.0, 100.0, secs(30), "30 s"),
            (secs(60), 10.0, 20.0, secs(60), "1 min 00 s"),
            (secs(10), 0.0, 100.0, secs(0), "0 s"),
            (secs(3_700), 50.0, 100.0, secs(3_700), "1 h 01 min"),
        ] {
            let found = left(elapsed, done, total);
            assert_eq!((found, shown(found).as_str()), (rest, text));
        }
    }
}
