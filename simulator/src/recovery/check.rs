//! Whether the plan is as good as it must be: what was counted against the optimum, fixed figures and Hairpin.
//!
//! Chance is allowed for: three deviations of what was counted, no more.

use std::collections::BTreeMap;

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
/// The share of repairs that may take longer than a prompt one does, up to 5 % loss.
const LATE_SHARE: f64 = 0.01;
const REPAIR_LOSS: f64 = 0.05;
const TURNAROUND_MS: f64 = 10.0;
/// The share of losses that may be repaired by parity and answered as well.
const PAID_TWICE: f64 = 0.05;

/// A goal that was held against what was counted.
#[derive(Debug, Clone, PartialEq)]
pub struct Verdict {
    /// Which goal.
    pub goal: &'static str,
    /// In which cell; empty if it is about more than one.
    pub cell: String,
    /// Where, in words.
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
    for row in of(Policy::LianmaiNative).chain(of(Policy::LianmaiBrowser)) {
        verdicts.extend([in_time(row), paid_twice(row), for_free(row)].into_iter().flatten());
    }
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
    let cell = row.title();
    Verdict { goal, place: format!("{cell} by {}", row.policy), cell, words, is_met }
}

/// What may be sent beside an optimum.
fn most(row: &Row) -> f64 {
    row.opt_redundancy * SHARE + POINTS
}

fn near_optimum(row: &Row) -> Verdict {
    let words = format!("{}, optimum {}", row.redundancy, row.opt_redundancy);
    let is_met = row.redundancy <= most(row) + DEVIATIONS * row.redundancy_deviation;
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
    let of = |policy: Policy| rows.iter().filter(move |row| row.policy == policy.name() && !row.prompt);
    let hairpins: BTreeMap<String, &Row> = of(Policy::Hairpin).map(|row| (row.title(), row)).collect();
    for row in of(Policy::LianmaiNative).filter(|row| row.feasible) {
        let Some(hairpin) = hairpins.get(&row.title()) else { continue };
        // Where its grid has no choice that meets ε, there is nothing to compare.
        if !hairpin.hairpin_meets || !residual("", hairpin).is_met {
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
        verdicts.push(Verdict {
            goal: "T3 hairpin",
            cell: String::new(),
            place,
            words,
            is_met: mean >= HAIRPIN_SAVED,
        });
    }
    verdicts
}

/// Repair by parity where there is one round, by one repair where there are two or one is to do, or where that costs no
/// more than the optimum and what is allowed beside it.
fn in_time(row: &Row) -> Option<Verdict> {
    let (p99, late) = (row.p99_ms?, row.late?);
    let is_native = row.policy == Policy::LianmaiNative.name();
    let is_cheap = row.prompt_least.is_some_and(|least| least <= most(row)) && is_native;
    let is_asked = row.feasible && row.loss <= REPAIR_LOSS && row.prompt_least.is_some();
    // Where one round is planned, a repair may come in time all the same: then parity is not all that can help.
    let is_mixed = row.rounds == 1 && row.rtt * 1.5 + TURNAROUND_MS <= row.deadline;
    if !is_asked || !(row.rounds <= 2 || row.prompt || is_cheap) || is_mixed || row.residual > 2.0 * row.eps {
        return None;
    }
    let repaired = row.repaired.max(1) as f64;
    let chance = DEVIATIONS * (LATE_SHARE * (1.0 - LATE_SHARE) / repaired).sqrt() + 1.0 / repaired;
    let goal = if row.rounds <= 2 || row.prompt { "T4 in time" } else { "T4 in time beside T1" };
    let words = format!("{late} of {repaired} repairs late, p99 {p99} ms");
    Some(verdict(goal, row, words, late <= LATE_SHARE + chance))
}

/// Hardly a loss that parity repairs is answered as well.
fn paid_twice(row: &Row) -> Option<Verdict> {
    let share = row.paid_twice?;
    let lost = (row.blocks as f64 * row.k as f64 * row.loss).max(1.0);
    let chance = DEVIATIONS * (PAID_TWICE * (1.0 - PAID_TWICE) / lost).sqrt() + 1.0 / lost;
    let words = format!("{share}, at most {PAID_TWICE}");
    Some(verdict("T5 paid twice", row, words, share <= PAID_TWICE + chance))
}

/// What loses nothing is sent nothing.
fn for_free(row: &Row) -> Option<Verdict> {
    let is_asked = row.loss <= 0.0;
    is_asked.then(|| verdict("T7 no loss", row, format!("{}", row.redundancy), row.redundancy <= 0.0))
}

#[cfg(test)]
mod tests;
