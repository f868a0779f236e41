//! `Strategy`: how one stream is carried: how long it may wait, what is done about its losses, and who goes before whom.
//!
//! In: the room's scene, what publisher and viewer state. Out: the goal of repair, the limit of the send queue, the
//! priority. Pure. It is the one place where these come from: each RTP send and receive pipeline has its own.

use core::time::Duration;

use fec::plan::{Goal, Kind};
use proto::scene::{Priority, Scene};
use proto::signal::{self, Delay, RepairScheme};

/// What may be done about losses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Repairs {
    /// Packets may be sent, and asked for, again.
    pub retransmission: bool,
    /// Pictures may be followed by repair packets before anybody asks.
    pub forward: bool,
    /// Packets of sound may carry those before them.
    pub redundant_audio: bool,
}

impl Repairs {
    /// Everything.
    pub const ALL: Self = Self { retransmission: true, forward: true, redundant_audio: true };

    /// What is asked for, and nothing before: for where nobody may be sent what was not asked for.
    pub const ON_REQUEST: Self = Self { retransmission: true, forward: false, redundant_audio: false };

    /// What is among these as well as among those that are stated.
    fn among(self, stated: &[RepairScheme]) -> Self {
        let states = |scheme| stated.contains(&scheme);
        Self {
            retransmission: self.retransmission && states(RepairScheme::Retransmission),
            forward: self.forward && states(RepairScheme::Forward),
            redundant_audio: self.redundant_audio && states(RepairScheme::RedundantAudio),
        }
    }
}

/// See the module's description.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Strategy {
    /// What the stream is for.
    pub scene: Scene,
    /// How long after its first packet left a block of packets must be whole at the receiver to be of use.
    pub deadline: Duration,
    /// How much delay is borne for a picture that moves evenly.
    pub delay_preference: Delay,
    /// What may be done about losses.
    pub repair: Repairs,
    /// Which of several pictures leaves first.
    pub priority: Priority,
}

impl Default for Strategy {
    fn default() -> Self {
        Self::of(Scene::default())
    }
}

impl Strategy {
    /// What a scene wants of all its streams. Who bears less delay goes first.
    pub const fn of(scene: Scene) -> Self {
        let (delay_preference, priority) = match scene {
            Scene::Game | Scene::Chorus => (Delay::Least, Priority::High),
            Scene::Pk | Scene::Chat => (Delay::Balanced, Priority::Normal),
            Scene::Watch => (Delay::Smooth, Priority::Low),
        };
        let deadline = Goal::new(scene, Kind::Other).deadline;
        Self { scene, deadline, delay_preference, repair: Repairs::ALL, priority }
    }

    /// The same with what is stated of one stream. Nothing that is not allowed here can be stated there.
    #[must_use]
    pub fn stated(self, stated: &signal::Strategy) -> Self {
        let base = stated.scene.map_or(self, |scene| Self { repair: self.repair, ..Self::of(scene) });
        Self {
            scene: base.scene,
            deadline: stated.deadline_ms.map_or(base.deadline, |millis| Duration::from_millis(millis.into())),
            delay_preference: stated.delay.unwrap_or(base.delay_preference),
            repair: stated.repair.as_ref().map_or(base.repair, |schemes| base.repair.among(schemes)),
            priority: stated.priority.unwrap_or(base.priority),
        }
    }

    /// What is asked of repair for packets of a kind.
    pub const fn goal(&self, kind: Kind) -> Goal {
        Goal { deadline: self.deadline, ..Goal::new(self.scene, kind) }
    }

    /// How long pictures may wait to be sent on a path without jitter (seed 002: a small queue where delay matters, a longer
    /// one where stalls do).
    pub const fn queue_max(&self) -> Duration {
        Duration::from_millis(match self.delay_preference {
            Delay::Least => 80,
            Delay::Balanced => 200,
            Delay::Smooth => 800,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scenes_differ_in_what_they_bear() {
        let of = |scene| {
            let own = Strategy::of(scene);
            (own.deadline.as_millis(), own.queue_max().as_millis(), own.priority)
        };
        for (scene, expected) in [
            (Scene::Game, (80, 80, Priority::High)),
            (Scene::Chorus, (60, 80, Priority::High)),
            (Scene::Pk, (150, 200, Priority::Normal)),
            (Scene::Chat, (250, 200, Priority::Normal)),
            (Scene::Watch, (400, 800, Priority::Low)),
        ] {
            assert_eq!(of(scene), expected, "{scene}");
            for kind in Kind::ALL {
                assert_eq!(Strategy::of(scene).goal(kind), Goal::new(scene, kind), "{scene}");
            }
        }
    }

    #[test]
    fn what_is_stated_counts_and_the_rest_is_as_the_scene_has_it() {
        let room = Strategy { repair: Repairs::ON_REQUEST, ..Strategy::of(Scene::Pk) };
        let nothing = signal::Strategy::default();
        assert_eq!(room.stated(&nothing), room);
        let game = signal::Strategy { scene: Some(Scene::Game), ..nothing.clone() };
        let expected = Strategy { repair: Repairs::ON_REQUEST, ..Strategy::of(Scene::Game) };
        assert_eq!(room.stated(&game), expected, "but no more repair than the room allows");
        let all = signal::Strategy {
            deadline_ms: Some(33),
            delay: Some(Delay::Smooth),
            repair: Some(vec![RepairScheme::Forward]),
            priority: Some(Priority::Low),
            ..game
        };
        let own = room.stated(&all);
        assert_eq!((own.deadline.as_millis(), own.queue_max().as_millis()), (33, 800));
        assert_eq!((own.goal(Kind::Audio).deadline, own.priority), (own.deadline, Priority::Low));
        let none = Repairs { retransmission: false, ..Repairs::ON_REQUEST };
        assert_eq!(own.repair, none, "forward repair is not allowed, and nothing else is stated");
        assert_eq!(Strategy::of(Scene::Pk).stated(&all).repair, Repairs { forward: true, ..none });
    }
}
