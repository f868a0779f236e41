//! Scenes: what people do in a room, which decides how much delay they bear (seed 004, `design.md` §3).

use core::fmt;
use core::str::FromStr;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What a stream is for.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum Scene {
    /// Cloud gaming: a picture late is a game lost.
    Game,
    /// Singing together: sound first, as little delay as can be.
    Chorus,
    /// Co-hosting before an audience: people who talk and hosts who compete.
    #[default]
    Pk,
    /// Nine-grid chat.
    Chat,
    /// Watching together: delay is hardly noticed, a standing picture is.
    Watch,
}

impl Scene {
    /// All scenes, from the least delay to the most.
    pub const ALL: [Self; 5] = [Self::Game, Self::Chorus, Self::Pk, Self::Chat, Self::Watch];

    /// Its name on command lines, in configuration and in metrics.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Game => "game",
            Self::Chorus => "chorus",
            Self::Pk => "pk",
            Self::Chat => "chat",
            Self::Watch => "watch",
        }
    }
}

impl fmt::Display for Scene {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Which of several pictures leaves first where not all can leave at once.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum Priority {
    /// Before the others.
    High,
    /// As most.
    #[default]
    Normal,
    /// Behind the others.
    Low,
}

impl Priority {
    /// All of them, the highest first.
    pub const ALL: [Self; 3] = [Self::High, Self::Normal, Self::Low];
}

/// There is no such scene.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("no scene {0:?}; there are game, chorus, pk, chat, watch")]
pub struct UnknownScene(pub String);

impl FromStr for Scene {
    type Err = UnknownScene;

    fn from_str(name: &str) -> Result<Self, UnknownScene> {
        Self::ALL.into_iter().find(|scene| scene.name() == name).ok_or_else(|| UnknownScene(name.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_lead_back_to_their_scenes_and_others_nowhere() {
        for scene in Scene::ALL {
            assert_eq!(scene.to_string().parse(), Ok(scene));
            assert_eq!(serde_json::to_value(scene).unwrap(), scene.name(), "the same in messages");
        }
        let error = "karaoke".parse::<Scene>().unwrap_err();
        assert_eq!(error.to_string(), "no scene \"karaoke\"; there are game, chorus, pk, chat, watch");
    }
}
