//! What a client does, as values: when it comes and goes, what it sends, what it shows.

use std::time::Duration;

use proto::units::Bitrate;

use crate::scenario::{CameraPlan, MicrophonePlan};

/// A client's stay in a room.
#[derive(Debug, Clone, PartialEq)]
pub struct ClientPlan {
    /// Who it is to the application; unique in its room.
    pub identity: String,
    /// The room.
    pub room: String,
    /// When it joins.
    pub join: Duration,
    /// When it leaves, if before the end.
    pub leave: Option<Duration>,
    /// What its camera sends, if it has one.
    pub camera: Option<VideoPlan>,
    /// What its microphone sends, if it has one.
    pub microphone: Option<MicrophonePlan>,
    /// How many others it has room for: slots of each kind.
    pub slots: usize,
    /// How often it pings over its WebSocket.
    pub ping: Duration,
    /// What it shows from each time on; before the first one it states no layout.
    pub layouts: Vec<(Duration, LayoutPlan)>,
}

/// A camera and how it is encoded.
#[derive(Debug, Clone, PartialEq)]
pub struct VideoPlan {
    /// What every layer has in common.
    pub camera: CameraPlan,
    /// The layers, the largest first.
    pub layers: Vec<LayerPlan>,
    /// Which of them are sent.
    pub encoding: Encoding,
}

/// Which layers are sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Encoding {
    /// Each in its own stream, as many from the smallest up as the rate allows (RFC 8853).
    Simulcast,
    /// One stream, in the largest size that the rate allows: a change of size begins with a key frame.
    Single,
}

/// A layer of a picture.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LayerPlan {
    /// Its `a=rid`.
    pub rid: &'static str,
    /// Width in pixels.
    pub width: u16,
    /// Height in pixels.
    pub height: u16,
    /// The rate below which it is not worth sending.
    pub min: Bitrate,
    /// The rate above which it does not get better.
    pub max: Bitrate,
}

/// What a client shows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LayoutPlan {
    /// Everybody's camera, each in this size.
    Everybody(u32, u32),
    /// The cameras of some, by identity, each in a size.
    Some(Vec<(String, u32, u32)>),
    /// No picture.
    Nothing,
}

/// Simulcast as Chromium sends it from a camera of 720 lines.
pub const LAYERS: [LayerPlan; 3] = [
    LayerPlan { rid: "h", width: 1280, height: 720, min: Bitrate::kbps(600), max: Bitrate::kbps(1_700) },
    LayerPlan { rid: "m", width: 640, height: 360, min: Bitrate::kbps(150), max: Bitrate::kbps(500) },
    LayerPlan { rid: "l", width: 320, height: 180, min: Bitrate::kbps(30), max: Bitrate::kbps(150) },
];

impl VideoPlan {
    /// Three layers of a camera with 30 pictures a second.
    pub fn simulcast() -> Self {
        Self { camera: camera(), layers: LAYERS.to_vec(), encoding: Encoding::Simulcast }
    }

    /// One stream of up to 720 lines.
    pub fn single() -> Self {
        Self { encoding: Encoding::Single, ..Self::simulcast() }
    }
}

/// A camera of a laptop: sizes vary, key frames only when asked for, the encoder follows within 100 ms.
fn camera() -> CameraPlan {
    CameraPlan {
        fps: 30,
        variation: 0.15,
        lag: Duration::from_millis(100),
        key_every: None,
        key_factor: 6.0,
        caps: Vec::new(),
    }
}

/// The rate of each layer, `layers` being the largest first; `None` for those that are not sent.
///
/// A layer is filled up to its `max` before the next larger one begins, and a layer that is off begins only with a
/// fifth more than its `min`, so that it does not come and go (libwebrtc's hysteresis). The smallest is always sent.
pub fn allocate(rate: Bitrate, layers: &[LayerPlan], on: &[bool]) -> Vec<Option<Bitrate>> {
    let mut rates = vec![None; layers.len()];
    let mut left = rate;
    for (index, layer) in layers.iter().enumerate().rev() {
        let is_smallest = index + 1 == layers.len();
        let needed = if on.get(index) == Some(&true) { layer.min } else { layer.min * 6 / 5 };
        if left < needed && !is_smallest {
            break;
        }
        let given = left.min(layer.max).max(if is_smallest { layer.min } else { Bitrate::ZERO });
        rates[index] = Some(given);
        left -= given;
    }
    rates
}

/// The layer that one stream has at a rate: the largest that the rate allows, with the same hysteresis.
pub fn best_layer(rate: Bitrate, layers: &[LayerPlan], now: usize) -> usize {
    let fits = |(index, layer): &(usize, &LayerPlan)| {
        rate >= if *index >= now { layer.min } else { layer.min * 6 / 5 }
    };
    layers.iter().enumerate().find(fits).map_or(layers.len().saturating_sub(1), |(index, _)| index)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn layers_are_filled_from_the_smallest_up() {
        let kbps = |rate: u64| Some(Bitrate::kbps(rate));
        for (claim, rate, on, expected) in [
            ("everything fits", 5_000, [true; 3], [kbps(1_700), kbps(500), kbps(150)]),
            ("the top layer gets what is left", 1_300, [true; 3], [kbps(650), kbps(500), kbps(150)]),
            ("too little for the top layer", 1_200, [true; 3], [None, kbps(500), kbps(150)]),
            ("and to begin it takes more", 1_300, [false, true, true], [None, kbps(500), kbps(150)]),
            ("so much more", 1_370, [false, true, true], [kbps(720), kbps(500), kbps(150)]),
            ("hardly anything", 10, [true; 3], [None, None, kbps(30)]),
        ] {
            assert_eq!(allocate(Bitrate::kbps(rate), &LAYERS, &on), expected, "{claim}");
        }
    }

    #[test]
    fn one_stream_changes_its_size_with_hysteresis() {
        for (claim, rate, now, expected) in [
            ("large", 2_000, 0, 0),
            ("falls", 599, 0, 1),
            ("does not rise at once", 700, 1, 1),
            ("rises", 720, 1, 0),
            ("the smallest goes on whatever happens", 5, 2, 2),
        ] {
            assert_eq!(best_layer(Bitrate::kbps(rate), &LAYERS, now), expected, "{claim}");
        }
    }
}
