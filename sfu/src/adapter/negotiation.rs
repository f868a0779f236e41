//! Offer and answer (RFC 8829): what each media section of a client's offer becomes.
//!
//! In: the parsed offer, what the client says its sending sections are, what its token allows. Out: a [`SectionPlan`]
//! for each section, in the offer's order. Limits: `TRACKS_MAX` published tracks, `SLOTS_MAX` slots a kind.

use proto::ids::Mid;
use proto::sdp::{Direction, Offer, Section, SectionKind};
use proto::signal::{BadStrategy, Kind, Layer, Publish, Source};

/// What a client's token and the server allow.
#[derive(Debug, Clone, Copy)]
pub struct Allowed<'a> {
    /// The sources that may be published.
    pub publish: &'a [Source],
    /// Published tracks at most.
    pub tracks_max: usize,
    /// Slots of each kind at most.
    pub slots_max: usize,
}

/// What a media section becomes.
#[derive(Debug, Clone, PartialEq)]
pub enum SectionPlan {
    /// The client sends a track in it.
    Publish(Publish),
    /// The server sends in it whatever it likes.
    Slot(Kind),
    /// Nothing flows for now.
    Inactive,
    /// It is of a kind that this server does not have, such as data channels.
    Rejected,
}

/// Why an offer cannot be answered.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NegotiationError {
    /// A published track names a section that the offer does not have.
    #[error("track with mid {0:?}: the offer has no such media section")]
    NoSection(String),
    /// Two published tracks name one section.
    #[error("two tracks name the media section with mid {0:?}")]
    SectionTwice(String),
    /// A published track's section does not send.
    #[error("track with mid {0:?}: its media section must be sendonly or sendrecv")]
    NotSending(String),
    /// A published track's section is of the other kind.
    #[error("track with mid {mid:?}: a {source_name} does not go into a section of the other kind")]
    WrongKind {
        /// The section.
        mid: String,
        /// The source as it was stated.
        source_name: String,
    },
    /// The token does not allow the source.
    #[error("the token does not allow publishing a {0}: see canPublish and canPublishSources")]
    NotAllowed(String),
    /// Too many tracks.
    #[error("{0} tracks published, at most {1} are allowed")]
    TooManyTracks(usize, usize),
    /// The stated layers are not those of the section.
    #[error(
        "track with mid {0:?}: its layers must be among the offer's rids, with sides of 1 to {SIDE_MAX} pixels"
    )]
    BadLayers(String),
    /// The stated strategy cannot be.
    #[error("track with mid {0:?}: {1}")]
    BadStrategy(String, BadStrategy),
    /// The section has no codec that this server forwards.
    #[error("the media section with mid {0:?} offers no codec that this server forwards")]
    NoCodec(String),
}

/// The longest side of a picture, in pixels; AV1's level 6 has it.
const SIDE_MAX: u32 = 16_384;

/// Plans an answer.
pub fn plan(
    offer: &Offer,
    tracks: &[Publish],
    allowed: Allowed<'_>,
) -> Result<Vec<SectionPlan>, NegotiationError> {
    if tracks.len() > allowed.tracks_max {
        return Err(NegotiationError::TooManyTracks(tracks.len(), allowed.tracks_max));
    }
    for (index, track) in tracks.iter().enumerate() {
        check(offer, track, allowed)?;
        if tracks[..index].iter().any(|other| other.mid == track.mid) {
            return Err(NegotiationError::SectionTwice(track.mid.to_string()));
        }
    }
    let mut slots = [0_usize; 2];
    Ok(offer.sections.iter().map(|section| plan_section(section, tracks, allowed, &mut slots)).collect())
}

fn check(offer: &Offer, track: &Publish, allowed: Allowed<'_>) -> Result<(), NegotiationError> {
    let mid = track.mid.to_string();
    let source_name = name(track.source).to_owned();
    let Some(section) = offer.sections.iter().find(|section| section.mid == track.mid) else {
        return Err(NegotiationError::NoSection(mid));
    };
    if !allowed.publish.contains(&track.source) {
        return Err(NegotiationError::NotAllowed(source_name));
    }
    if kind(section) != Some(track.source.kind()) {
        return Err(NegotiationError::WrongKind { mid, source_name });
    }
    if section.rejected || !matches!(section.direction, Direction::SendOnly | Direction::SendRecv) {
        return Err(NegotiationError::NotSending(mid));
    }
    if section.receivable_codecs().is_empty() {
        return Err(NegotiationError::NoCodec(mid));
    }
    let sides = 1..=SIDE_MAX;
    let sound = |layer: &Layer| {
        section.rids.iter().any(|offer| offer.rid == layer.rid)
            && sides.contains(&layer.width)
            && sides.contains(&layer.height)
    };
    if track.layers.len() > section.rids.len() || !track.layers.iter().all(sound) {
        return Err(NegotiationError::BadLayers(mid));
    }
    track.strategy.check().map_err(|fault| NegotiationError::BadStrategy(mid, fault))
}

fn plan_section(
    section: &Section,
    tracks: &[Publish],
    allowed: Allowed<'_>,
    slots: &mut [usize; 2],
) -> SectionPlan {
    let Some(kind) = kind(section).filter(|_| !section.rejected && !section.receivable_codecs().is_empty())
    else {
        return SectionPlan::Rejected;
    };
    match section.direction {
        Direction::SendOnly | Direction::SendRecv => {
            let track = tracks.iter().find(|track| track.mid == section.mid);
            track.map_or(SectionPlan::Inactive, |track| SectionPlan::Publish(track.clone()))
        }
        Direction::RecvOnly => {
            let taken = &mut slots[usize::from(kind == Kind::Video)];
            *taken += 1;
            if *taken > allowed.slots_max { SectionPlan::Inactive } else { SectionPlan::Slot(kind) }
        }
        Direction::Inactive => SectionPlan::Inactive,
    }
}

fn kind(section: &Section) -> Option<Kind> {
    match section.kind {
        SectionKind::Audio => Some(Kind::Audio),
        SectionKind::Video => Some(Kind::Video),
        SectionKind::Other(_) => None,
    }
}

fn name(source: Source) -> &'static str {
    match source {
        Source::Camera => "camera",
        Source::Microphone => "microphone",
        Source::Screen => "screen",
        Source::ScreenAudio => "screen's sound",
    }
}

/// The slots of a plan, in the offer's order.
pub fn slots(offer: &Offer, plan: &[SectionPlan]) -> Vec<(Mid, Kind)> {
    let slot = |(section, plan): (&Section, &SectionPlan)| match plan {
        SectionPlan::Slot(kind) => Some((section.mid.clone(), *kind)),
        SectionPlan::Publish(_) | SectionPlan::Inactive | SectionPlan::Rejected => None,
    };
    offer.sections.iter().zip(plan).filter_map(slot).collect()
}
