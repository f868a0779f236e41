//! What must be reached: ahead of libwebrtc in every row, and no harm where rate alone is policed.
//!
//! In: rows. Out: [`Verdict`]s. Rows without their counterpart say nothing.

use super::contender::Contender;
use super::play::POLICER;
use super::row::Row;

/// Who sends with parity where harm is measured, and who without: both take all of the rate, or nothing would be dropped.
const WITH: &str = "hybrid+plan@100";
const WITHOUT: &str = "hybrid+nack@100";
/// Where rate alone is policed: the most redundancy, and the least that is delivered of what would be without it.
const POLICED_REDUNDANCY: f64 = 0.03;
const POLICED_MEDIA: f64 = 0.97;

/// A goal that was held against rows.
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
    let mut verdicts = Vec::new();
    let of = |policy: &'static str| rows.iter().filter(move |row| row.policy == policy);
    for ours in of(Contender::OURS) {
        let peer = of(Contender::PEER).find(|row| row.title() == ours.title());
        verdicts.extend(peer.into_iter().flat_map(|peer| ahead(ours, peer)));
    }
    for with in of(WITH).filter(|row| row.scenario == POLICER) {
        let without = of(WITHOUT).find(|row| row.title() == with.title());
        verdicts.extend(without.into_iter().flat_map(|without| harmless(with, without)));
    }
    verdicts
}

/// What was judged, a line each.
pub fn lines(verdicts: &[Verdict]) -> Vec<String> {
    let word = |verdict: &Verdict| if verdict.is_met { "reached" } else { "missed" };
    let line = |verdict: &Verdict| {
        format!("{:7}  {}: {} in {}", word(verdict), verdict.goal, verdict.words, verdict.place)
    };
    verdicts.iter().map(line).collect()
}

/// Nobody can stand still less than not at all; pictures must be there sooner.
fn ahead(ours: &Row, peer: &Row) -> [Verdict; 2] {
    let verdict = |goal, values: [f64; 2], unit, is_met| Verdict {
        goal,
        place: ours.title(),
        words: format!("{:.2} {unit}, {} {:.2}", values[0], Contender::PEER, values[1]),
        is_met,
    };
    let stills = [ours.median.stall_s_per_min, peer.median.stall_s_per_min];
    let delays = [ours.median.frame_p95_ms, peer.median.frame_p95_ms];
    let no_still = stills[0] <= 0.0;
    [
        verdict("stills", stills, "s/min", no_still || stills[0] < stills[1]),
        verdict("frame p95", delays, "ms", delays[0] < delays[1]),
    ]
}

fn harmless(with: &Row, without: &Row) -> [Verdict; 2] {
    let place = with.title();
    let redundancy = with.median.redundancy;
    let share = with.median.media_kbps / without.median.media_kbps.max(1.0);
    [
        Verdict {
            goal: "T8 redundancy",
            place: place.clone(),
            words: format!("{:.1} %, at most {:.1} %", redundancy * 100.0, POLICED_REDUNDANCY * 100.0),
            is_met: redundancy <= POLICED_REDUNDANCY,
        },
        Verdict {
            goal: "T8 media",
            place,
            words: format!("{:.1} % of {WITHOUT}'s, at least {:.0} %", share * 100.0, POLICED_MEDIA * 100.0),
            is_met: share >= POLICED_MEDIA,
        },
    ]
}

#[cfg(test)]
mod tests {
    use proto::scene::Scene;

    use super::*;
    use crate::protected::Outcome;
    use crate::sweep::Seeds;

    fn row(scenario: &str, policy: &str, outcome: Outcome) -> Row {
        let contender = policy.parse().expect("it is known");
        Row::new(scenario, &contender, (Scene::Pk, String::new()), Seeds::one(1), &[outcome])
    }

    fn made(stall: f64, delay: f64, redundancy: f64, media: f64) -> Outcome {
        Outcome {
            stall_s_per_min: stall,
            frame_p95_ms: delay,
            redundancy,
            media_kbps: media,
            ..Outcome::default()
        }
    }

    #[test]
    fn ahead_is_less_and_nothing_cannot_be_less() {
        for (name, ours, peers, met) in [
            ("ahead in both", (0.1, 70.0), (0.2, 80.0), [true, true]),
            ("neither stands still", (0.0, 70.0), (0.0, 80.0), [true, true]),
            ("as much", (0.1, 80.0), (0.1, 80.0), [false, false]),
            ("behind", (0.3, 90.0), (0.1, 80.0), [false, false]),
        ] {
            let rows = [
                row("random-5", Contender::OURS, made(ours.0, ours.1, 0.5, 1.0)),
                row("random-5", Contender::PEER, made(peers.0, peers.1, 0.5, 9.0)),
                row("random-10", Contender::PEER, made(0.0, 0.0, 0.0, 0.0)),
            ];
            let found: Vec<bool> = judge(&rows).iter().map(|verdict| verdict.is_met).collect();
            assert_eq!(found, met, "{name}");
        }
    }

    #[test]
    fn a_policer_bears_no_parity() {
        for (redundancy, media, met) in [(0.03, 970.0, [true, true]), (0.031, 969.0, [false, false])] {
            let rows = [
                row(POLICER, WITH, made(0.0, 0.0, redundancy, media)),
                row(POLICER, WITHOUT, made(0.0, 0.0, 0.0, 1_000.0)),
            ];
            let verdicts = judge(&rows);
            assert_eq!(verdicts.iter().map(|verdict| verdict.is_met).collect::<Vec<_>>(), met);
            assert_eq!(lines(&verdicts).len(), 2);
        }
    }
}
