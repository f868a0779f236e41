//! Whether the plan is as good as it must be: what was counted against the optimum, fixed figures and Hairpin.
//!
//! Chance is allowed for: three deviations of what was counted, no more.

use super::policy::Policy;
use super::row::Row;

/// How much more than the optimum the plan may send: it has to learn what the optimum is told.
const SHARE: f64 = 1.05;
const POINTS: f64 = 0.005;
/// Deviations that chance is allowed.
const DEVIATIONS: f64 = 3.0;
/// Towards browsers at 60 ms round trip, 150 ms deadline, 12 packets, ε 1e-3: redundancy by loss.
const BROWSER: [(f64, f64); 4] = [(0.01, 0.025), (0.02, 0.05), (0.05, 0.135), (0.10, 0.31)];
/// What Hairpin's policy must send more, on average, at two rounds and from 10 % loss on.
const HAIRPIN_SAVED: f64 = 0.15;
/// What repair may take longer than a round, in milliseconds, up to 5 % loss; what parity alone may take longer than the
/// media takes to leave.
const REPAIR_MS: f64 = 10.0;
const PARITY_MS: f64 = 15.0;
const PACING_MS: f64 = 5.0;
const TURNAROUND_MS: f64 = 10.0;
const REPAIR_LOSS: f64 = 0.05;

/// A goal that was held against what was counted.
#[derive(Debug, Clone, PartialEq)]
pub struct Verdict {
    /// Which goal.
    pub goal: &'static str,
    /// Where.
    pub place: String,
    /// What was found, and what must be.
    pub words: String,
    /// Whether it is reached.
    pub is_met: bool,
}

/// All goals that some rows have something to say about.
pub fn judge(rows: &[Row]) -> Vec<Verdict> {
    let of = |policy: Policy| rows.iter().filter(move |row| row.policy == policy.name());
    let mut verdicts: Vec<Verdict> = Vec::new();
    for row in of(Policy::LianmaiNative).filter(|row| row.feasible && !row.prompt) {
        verdicts.push(near_optimum(row));
        verdicts.push(residual("T1 residual", row));
    }
    for row in of(Policy::LianmaiBrowser) {
        if let Some(limit) = browser_limit(row) {
            let is_met = row.redundancy <= limit;
            verdicts.push(verdict("T2 browser", row, format!("{}, at most {limit}", row.redundancy), is_met));
            verdicts.push(residual("T2 residual", row));
        }
    }
    verdicts.extend(against_hairpin(rows));
    let ours = of(Policy::LianmaiNative).chain(of(Policy::LianmaiBrowser));
    verdicts.extend(ours.filter_map(in_time));
    verdicts
}

/// What was judged, by goal, and all that was missed.
pub fn lines(verdicts: &[Verdict]) -> Vec<String> {
    let mut goals: Vec<&str> = verdicts.iter().map(|verdict| verdict.goal).collect();
    goals.sort_unstable();
    goals.dedup();
    let mut lines = Vec::new();
    for goal in goals {
        let of: Vec<&Verdict> = verdicts.iter().filter(|verdict| verdict.goal == goal).collect();
        let met = of.iter().filter(|verdict| verdict.is_met).count();
        lines.push(format!("{goal}: {met} of {} reached", of.len()));
        let missed = of.iter().filter(|verdict| !verdict.is_met);
        lines.extend(missed.map(|verdict| format!("  missed in {}: {}", verdict.place, verdict.words)));
    }
    lines
}

fn verdict(goal: &'static str, row: &Row, words: String, is_met: bool) -> Verdict {
    Verdict { goal, place: format!("{} by {}", row.title(), row.policy), words, is_met }
}

fn near_optimum(row: &Row) -> Verdict {
    let limit = row.opt_redundancy * SHARE + POINTS;
    let words = format!("{}, optimum {}", row.redundancy, row.opt_redundancy);
    let is_met = row.redundancy <= limit + DEVIATIONS * row.redundancy_deviation;
    verdict("T1 optimum", row, words, is_met)
}

fn residual(goal: &'static str, row: &Row) -> Verdict {
    let blocks = row.blocks.max(1) as f64;
    let limit = row.eps + DEVIATIONS * (row.eps / blocks).sqrt() + 1.0 / blocks;
    verdict(goal, row, format!("{} of {}", row.residual, row.eps), row.residual <= limit)
}

fn browser_limit(row: &Row) -> Option<f64> {
    let is_there = near(row.rtt, 60.0) && near(row.deadline, 150.0) && row.k == 12 && row.burst == "iid";
    let is_asked = is_there && near(row.eps, 1e-3) && !row.prompt;
    BROWSER.iter().find(|(loss, _)| is_asked && near(*loss, row.loss)).map(|(_, limit)| *limit)
}

fn near(a: f64, b: f64) -> bool {
    (a - b).abs() < 1e-9
}

/// Never more than Hairpin, and much less where it matters.
fn against_hairpin(rows: &[Row]) -> Vec<Verdict> {
    let mut verdicts = Vec::new();
    let mut saved = Vec::new();
    let ours = rows.iter().filter(|row| row.policy == Policy::LianmaiNative.name() && !row.prompt);
    for row in ours.filter(|row| row.feasible) {
        let is_pair = |other: &&Row| other.policy == Policy::Hairpin.name() && other.title() == row.title();
        let Some(hairpin) = rows.iter().find(is_pair) else { continue };
        // Where its grid has no choice that meets ε, there is nothing to compare.
        if !residual("", hairpin).is_met {
            continue;
        }
        let chance = DEVIATIONS * row.redundancy_deviation.hypot(hairpin.redundancy_deviation);
        let is_met = row.redundancy <= hairpin.redundancy * SHARE + POINTS + chance;
        let words = format!("{}, hairpin {}", row.redundancy, hairpin.redundancy);
        verdicts.push(verdict("T3 never more", row, words, is_met));
        if row.rounds == 2 && row.loss >= 0.1 && hairpin.redundancy > 0.0 {
            saved.push(1.0 - row.redundancy / hairpin.redundancy);
        }
    }
    if !saved.is_empty() {
        let mean = saved.iter().sum::<f64>() / saved.len() as f64;
        let words = format!("{:.1} % less on average, at least {:.0} %", mean * 100.0, HAIRPIN_SAVED * 100.0);
        let place = format!("{} cells of two rounds", saved.len());
        verdicts.push(Verdict { goal: "T3 hairpin", place, words, is_met: mean >= HAIRPIN_SAVED });
    }
    verdicts
}

/// Where one repair is to do or two rounds are all there is, and where parity is.
fn in_time(row: &Row) -> Option<Verdict> {
    let p99 = row.p99_ms?;
    let is_asked = row.feasible && (row.rounds <= 2 || row.prompt) && row.loss <= REPAIR_LOSS;
    // Where one round is planned, a repair may come in time all the same: then parity is not all that can help.
    let is_mixed = row.rounds == 1 && row.rtt * 1.5 + TURNAROUND_MS <= row.deadline;
    if !is_asked || is_mixed || row.residual > 2.0 * row.eps {
        return None;
    }
    let limit = if row.rounds == 1 { PACING_MS + PARITY_MS } else { row.rtt + TURNAROUND_MS + REPAIR_MS };
    Some(verdict("T4 in time", row, format!("{p99} ms, at most {limit} ms"), p99 <= limit))
}

#[cfg(test)]
mod tests;
