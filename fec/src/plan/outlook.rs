//! By when blocks shall be whole: the scene's deadline, or a later one where keeping to it costs more than it is worth.
//!
//! In: a leg's plan, what a scene asks for. Out: [`Outlook`]. Time: none. Limit: [`LATER_MAX`] more rounds than the
//! deadline has room for.
//!
//! A deadline that leaves room for one round asks for all parity beforehand, at twenty milliseconds more a tenth of it
//! does. What a scene says about delay ([`Goal::lateness`]) is set against the redundancy that a further round saves, so that
//! a round trip that grows moves the deadline and not the picture's share of the link (references §4.6).

use core::time::Duration;

use super::goal::Goal;
use super::span;
use super::timing::Timing;
use super::{Planner, known};

/// How many rounds more than the deadline has room for are looked at, and how many frames' time.
const LATER_MAX: usize = 2;
const FRAMES_LATER_MAX: u32 = 3;

/// Players' patience: a picture later than that is asked for anew rather than waited for.
const DEADLINE_MAX: Duration = Duration::from_millis(800);

/// What it costs, as a share of the media, if none of what the goal takes could be sent.
const UNMET: f64 = 3.0;

/// What a deadline's worth of delay costs beyond the deadline, even where delay before it costs nothing.
const LATENESS_MIN: f64 = 0.2;

/// What repair is up to on a leg, for blocks of a usual size.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Outlook {
    /// By when blocks are to be whole.
    pub deadline: Duration,
    /// What repair costs on average, as a share of the media.
    pub redundancy: f64,
    /// The share of what the goal takes that is too much to be sent, 0 if it is met.
    pub lacking: f64,
    /// How long after blocks have usually arrived those are whole that were repaired: what a player should wait.
    pub wait: Duration,
}

/// What the blocks are like.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Usual {
    /// Packets a block.
    pub media: usize,
    /// From one frame to the next, if they come steadily.
    pub interval: Option<Duration>,
    /// The most redundancy that there may be, as a share of the media.
    pub redundancy_max: f64,
}

impl Outlook {
    /// Where nothing is lost.
    pub const fn idle(goal: &Goal) -> Self {
        Self { deadline: goal.deadline, redundancy: 0.0, lacking: 0.0, wait: Duration::ZERO }
    }
}

impl Planner {
    /// By when blocks shall be whole on this leg, and what that takes.
    pub fn outlook(&self, goal: &Goal, usual: &Usual) -> Outlook {
        let Some(timing) = self.timing.filter(|_| !self.is_idle()) else { return Outlook::idle(goal) };
        // What nobody can be in time for is not late.
        let soonest = goal.deadline.max(timing.one_way + timing.pacing);
        let by = |deadline| self.look(&Goal { deadline, ..*goal }, usual, &timing);
        let price = |outlook: &Outlook| {
            let late = outlook.deadline.saturating_sub(soonest).as_secs_f64();
            let lateness = goal.lateness.max(LATENESS_MIN);
            outlook.redundancy
                + UNMET * outlook.lacking
                + lateness * late / goal.deadline.as_secs_f64().max(1e-3)
        };
        let fitting = self.rounds(&timing, goal);
        let rounds = (fitting + 1..=fitting + LATER_MAX).map(|rounds| self.deadline_of(&timing, rounds));
        // Parity that frames share needs their time, not a round's.
        let interval = usual.interval.filter(|_| fitting == 1).unwrap_or_default();
        let frames = (1..=FRAMES_LATER_MAX).map(|frames| soonest + interval * frames);
        rounds
            .chain(frames)
            .filter(|deadline| *deadline > soonest && *deadline <= DEADLINE_MAX.max(soonest))
            .map(by)
            .fold(by(soonest), |best, other| if price(&other) < price(&best) { other } else { best })
    }

    /// When so many rounds are over.
    fn deadline_of(&self, timing: &Timing, rounds: usize) -> Duration {
        let again = timing.round() * rounds.saturating_sub(1) as u32;
        timing.one_way + timing.pacing + again + self.reserve
    }

    fn look(&self, goal: &Goal, usual: &Usual, timing: &Timing) -> Outlook {
        let rounds = self.rounds(timing, goal);
        let interval = usual.interval.unwrap_or_default();
        let frames = span::span(usual.media, rounds, timing, goal.deadline, interval);
        let covered = usual.media * frames;
        let (_, node) = self.mix(covered).0.pick([0.0, 0.0]).unzip();
        let choice = node.and_then(|node| {
            let (known, _) = known(node, covered);
            let (choice, rounds) = self.choose(node, (usual.media, known), (rounds, goal), 0.0)?;
            Some((f64::from(choice.sent) / known.max(1) as f64 - 1.0, choice.is_enough, rounds))
        });
        let (redundancy, is_enough, rounds) = choice.unwrap_or((self.steady.bound(), true, rounds));
        let again = timing.round() * rounds.saturating_sub(1) as u32;
        let window = interval * (frames - 1) as u32;
        let wait = again.max(window) + timing.pacing + self.reserve;
        let sent = redundancy.min(usual.redundancy_max);
        let lacking = if is_enough { 1.0 - sent / redundancy.max(sent).max(f64::MIN_POSITIVE) } else { 1.0 };
        Outlook { deadline: goal.deadline, redundancy: sent, lacking, wait }
    }
}

#[cfg(test)]
mod tests {
    use proto::scene::Scene;
    use proto::time::Instant;

    use super::super::offline::OfflineMasks;
    use super::super::{Kind, Receiver, Tables};
    use super::*;
    use crate::loss_model::LossEstimate;

    fn outlook(scene: Scene, round_trip: u64, loss: f64) -> Outlook {
        let ms = Duration::from_millis;
        let mut planner = Planner::new(Receiver::FlexFec);
        let estimate =
            LossEstimate { loss, bound: loss, packets: 1e4, correlation: 0.0, ..LossEstimate::COLD };
        let timing = Timing::symmetric(ms(round_trip), ms(10), ms(5));
        planner.handle_feedback(Instant::ZERO, &estimate, timing, &mut Tables::new(OfflineMasks));
        let usual = Usual { media: 7, interval: Some(ms(33)), redundancy_max: 0.5 };
        planner.outlook(&Goal::new(scene, Kind::Other), &usual)
    }

    #[test]
    fn a_later_deadline_is_taken_where_it_saves_more_than_its_delay_costs() {
        for (scene, round_trip, loss, deadline) in [
            (Scene::Pk, 60, 0.05, 150..=150),
            (Scene::Pk, 100, 0.05, 165..=200), // one more round, a few milliseconds late
            (Scene::Pk, 200, 0.05, 315..=350), // parity alone would not do
            (Scene::Game, 200, 0.05, 138..=150), // two pictures share parity, and nobody asks
            (Scene::Watch, 200, 0.05, 400..=400),
            (Scene::Pk, 200, 0.0, 150..=150),
        ] {
            let found = outlook(scene, round_trip, loss);
            let name = format!("{scene} {round_trip} {loss}: {found:?}");
            assert!(deadline.contains(&(found.deadline.as_millis() as u64)), "{name}");
            assert!(found.redundancy <= 0.5, "{name}");
            assert_eq!(found.redundancy > 0.0, loss > 0.0, "{name}");
        }
    }

    #[test]
    fn who_waits_for_rounds_says_so() {
        let (patient, hasty) = (outlook(Scene::Watch, 200, 0.05), outlook(Scene::Game, 200, 0.05));
        assert!(patient.wait >= Duration::from_millis(210) && patient.redundancy < 0.2, "{patient:?}");
        assert!(hasty.wait < Duration::from_millis(100) && hasty.lacking > 0.0, "{hasty:?}");
        assert_eq!(outlook(Scene::Pk, 200, 0.0).wait, Duration::ZERO);
    }
}
