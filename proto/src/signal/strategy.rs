//! How a track is carried, as publishers and viewers state it.
//!
//! In: JSON. Out: values that were checked. Time: none. Limit: [`DEADLINES_MS`].

use core::ops::RangeInclusive;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::scene::{Priority, Scene};

/// How a track is carried: how much delay its use bears, and what is done about losses and a path that is too narrow.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
pub struct Strategy {
    /// What the track is for; all that is left out below follows from it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scene: Option<Scene>,
    /// How many milliseconds after the first attempt a packet that was lost is still of use: 20 to 2000.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deadline_ms: Option<u32>,
    /// How long pictures may wait where the path is too narrow for the moment, before some are left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub delay: Option<Delay>,
    /// What may be done about losses; of that, what was negotiated and what pays is done. An empty list is nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub repair: Option<Vec<RepairScheme>>,
    /// Which of several pictures leaves first where not all can leave at once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub priority: Option<Priority>,
}

/// The deadlines that a [`Strategy`] may state, in milliseconds: less than one packet of sound is no time for anything,
/// and after two seconds nothing waits any more.
pub const DEADLINES_MS: RangeInclusive<u32> = 20..=2_000;

/// A strategy states what cannot be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadStrategy {
    /// See [`DEADLINES_MS`].
    #[error(
        "a strategy's deadline_ms must be {} to {}, this one is {stated}",
        DEADLINES_MS.start(),
        DEADLINES_MS.end()
    )]
    Deadline {
        /// The one that was stated.
        stated: u32,
    },
}

impl Strategy {
    /// Whether it says nothing.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Whether it can be.
    pub fn check(&self) -> Result<(), BadStrategy> {
        match self.deadline_ms {
            Some(millis) if !DEADLINES_MS.contains(&millis) => Err(BadStrategy::Deadline { stated: millis }),
            Some(_) | None => Ok(()),
        }
    }

    /// What this says, and where it says nothing what `other` does. Whoever names another scene means all of it: then
    /// `other` counts no more.
    #[must_use]
    pub fn or(&self, other: &Self) -> Self {
        if self.scene.is_some() {
            return self.clone();
        }
        Self {
            scene: other.scene,
            deadline_ms: self.deadline_ms.or(other.deadline_ms),
            delay: self.delay.or(other.delay),
            repair: self.repair.as_ref().or(other.repair.as_ref()).cloned(),
            priority: self.priority.or(other.priority),
        }
    }
}

/// How much delay is borne for a picture that moves evenly.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Delay {
    /// Hardly any: pictures wait 80 ms at most. The default of games and choruses.
    Least,
    /// What a conversation bears: 200 ms. The default of PK and chat.
    Balanced,
    /// What nobody notices who only watches: 800 ms. The default of watching together.
    Smooth,
}

/// Something that is done about losses.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum RepairScheme {
    /// Packets are sent again when they are asked for (RFC 4588).
    Retransmission,
    /// Pictures are followed by repair packets before anybody asks (`FlexFEC`).
    Forward,
    /// Packets of sound carry those before them (RFC 2198).
    RedundantAudio,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::signal::Tile;

    #[test]
    fn a_strategy_may_be_left_out_or_say_anything_that_can_be() {
        let tile = |strategy: &str| {
            let text = format!(r#"{{"track":"TR_a","width":1,"height":1{strategy}}}"#);
            serde_json::from_str::<Tile>(&text).map(|tile| tile.strategy)
        };
        assert_eq!(tile("").unwrap(), Strategy::default());
        let plain = Tile { track: "TR_a".into(), width: 1, height: 1, strategy: Strategy::default() };
        assert_eq!(serde_json::to_string(&plain).unwrap(), r#"{"track":"TR_a","width":1,"height":1}"#);
        let game =
            tile(r#","strategy":{"scene":"game","deadline_ms":60,"repair":["forward"],"priority":"high"}"#);
        let expected = Strategy {
            scene: Some(Scene::Game),
            deadline_ms: Some(60),
            delay: None,
            repair: Some(vec![RepairScheme::Forward]),
            priority: Some(Priority::High),
        };
        assert_eq!(game.unwrap(), expected);
        let error = tile(r#","strategy":{"scene":"karaoke"}"#).unwrap_err().to_string();
        assert!(error.contains("karaoke") && error.contains("chorus"), "{error}");
        for (millis, is_good) in [(19, false), (20, true), (2_000, true), (2_001, false)] {
            let checked = Strategy { deadline_ms: Some(millis), ..Strategy::default() }.check();
            assert_eq!(checked.is_ok(), is_good, "{millis}");
        }
        let error = BadStrategy::Deadline { stated: 5 }.to_string();
        assert_eq!(error, "a strategy's deadline_ms must be 20 to 2000, this one is 5");
    }

    #[test]
    fn who_names_another_scene_means_all_of_it_and_who_does_not_only_what_is_said() {
        let own =
            |scene, deadline_ms, priority| Strategy { scene, deadline_ms, priority, ..Strategy::default() };
        let publisher = own(Some(Scene::Game), Some(60), None);
        for (claim, viewer, expected) in [
            ("nothing said", own(None, None, None), publisher.clone()),
            (
                "one thing",
                own(None, None, Some(Priority::Low)),
                own(Some(Scene::Game), Some(60), Some(Priority::Low)),
            ),
            ("another scene", own(Some(Scene::Watch), None, None), own(Some(Scene::Watch), None, None)),
        ] {
            assert_eq!(viewer.or(&publisher), expected, "{claim}");
        }
    }
}
