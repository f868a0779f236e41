//! Whether viewers get the layer that their path carries: what an SFU's congestion control is for.
//!
//! In: what the publisher's layers weigh, what each viewer gets, padding, losses and freezes. Out: [`LayerMetrics`].
//!
//! **The right layer**, span by span (100 ms) after the warm-up. An oracle that knows the plan of each viewer's
//! bottleneck gives the viewer the best layer, as far as the viewer is shown large enough to want it, that fits with
//! sound into [`USABLE`] of the least that the bottleneck has carried during the last [`GRACE`] (so that nobody is blamed
//! for not being there at once), or the smallest one if it fits at all. A layer weighs what the publisher's packets of it
//! and of its sound weighed on arrival over the last [`WEIGHED`], headers of RTP, UDP and IP included; a layer that is not
//! sent, because somebody took it for more than the path carries, weighs what its plan lets it have at most. Who has a
//! layer at least as good has the right one. Having a better one is no fault here: freezes and losses tell what it costs.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use proto::time::Instant;
use proto::units::DataSize;

use super::meter::{SPAN, share, span_of};
use crate::packet::NodeId;

/// Which share of the capacity the oracle uses.
const USABLE: f64 = 0.9;

/// How long the capacity must have been there.
const GRACE: Duration = Duration::from_secs(5);

/// Over how long layers are weighed.
const WEIGHED: Duration = Duration::from_secs(2);

/// A freeze is of our own making if a packet found a queue full or exceeded a policer so shortly before it began.
const BLAMED: Duration = Duration::from_secs(1);

/// Losses of a viewer that are remembered: those of the last seconds.
const LOSSES_MAX: usize = 256;

/// A layer by its place among those that the publisher has, the best first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Layer(pub(crate) usize);

/// What there is to tell.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub(crate) struct LayerMetrics {
    /// The share of viewers and time with the right layer.
    pub(crate) right: Option<f64>,
    /// Padding as a share of all that was sent to viewers.
    pub(crate) padding: Option<f64>,
    /// The part of it to those who had the layer that they are shown in.
    pub(crate) padding_satisfied: Option<f64>,
    /// Seconds a minute of a viewer in freezes of our own making.
    pub(crate) own_freeze_s_per_min: Option<f64>,
}

/// A viewer.
#[derive(Debug)]
struct Viewer {
    /// The smallest layer that is not smaller than the viewer's tile.
    wanted: Layer,
    /// What the viewer gets, and got by the end of each span.
    current: Option<Layer>,
    got: Vec<Option<Layer>>,
    /// When packets to the viewer were lost to queues and policers.
    losses: VecDeque<Instant>,
}

/// See the module's description.
#[derive(Debug)]
pub(crate) struct LayerMeter {
    times: (Instant, Instant),
    /// Bytes a span that each viewer's bottleneck carries.
    capacity: Vec<u64>,
    /// Bytes a span of each layer and of sound, as they reach the SFU.
    layers: Vec<Vec<u64>>,
    /// Bytes a span of each layer at its best.
    most: Vec<u64>,
    sound: Vec<u64>,
    viewers: BTreeMap<NodeId, Viewer>,
    sent: DataSize,
    padding: DataSize,
    padding_satisfied: DataSize,
    frozen: Duration,
}

impl LayerMeter {
    /// Watches from one time to another: `capacity` of each viewer's bottleneck by spans from the beginning, what each layer weighs
    /// at its best in a span, and for each viewer the layer that the viewer is shown in.
    pub(crate) fn new(
        times: (Instant, Instant),
        capacity: Vec<u64>,
        most: Vec<u64>,
        viewers: impl IntoIterator<Item = (NodeId, Layer)>,
    ) -> Self {
        let spans = capacity.len();
        let viewer =
            |wanted| Viewer { wanted, current: None, got: vec![None; spans], losses: VecDeque::new() };
        Self {
            times,
            layers: vec![vec![0; spans]; most.len()],
            most,
            sound: vec![0; spans],
            viewers: viewers.into_iter().map(|(node, wanted)| (node, viewer(wanted))).collect(),
            capacity,
            sent: DataSize::ZERO,
            padding: DataSize::ZERO,
            padding_satisfied: DataSize::ZERO,
            frozen: Duration::ZERO,
        }
    }

    /// A packet of a layer, or of sound, reached the SFU.
    pub(crate) fn note_source(&mut self, now: Instant, layer: Option<Layer>, size: DataSize) {
        let spans = match layer {
            Some(Layer(layer)) => self.layers.get_mut(layer),
            None => Some(&mut self.sound),
        };
        if let Some(bytes) = spans.and_then(|spans| spans.get_mut(span_of(now))) {
            *bytes += size.as_bytes();
        }
    }

    /// A viewer is sent a packet of a layer.
    pub(crate) fn note_layer(&mut self, now: Instant, to: NodeId, layer: Layer) {
        let Some(viewer) = self.viewers.get_mut(&to) else { return };
        viewer.current = Some(layer);
        if let Some(got) = viewer.got.get_mut(span_of(now)) {
            *got = Some(layer);
        }
    }

    /// A viewer is sent something, or only padding.
    pub(crate) fn note_sent(&mut self, now: Instant, to: NodeId, size: DataSize, is_padding: bool) {
        if !self.counts(now) {
            return;
        }
        let Some(viewer) = self.viewers.get(&to) else { return };
        self.sent += size;
        if is_padding {
            self.padding += size;
            let satisfied = viewer.current.is_some_and(|layer| layer <= viewer.wanted);
            self.padding_satisfied += if satisfied { size } else { DataSize::ZERO };
        }
    }

    /// A packet to a viewer found a queue full or exceeded a policer.
    pub(crate) fn note_overrun(&mut self, now: Instant, to: NodeId) {
        let Some(viewer) = self.viewers.get_mut(&to) else { return };
        viewer.losses.push_back(now);
        if viewer.losses.len() > LOSSES_MAX {
            viewer.losses.pop_front();
        }
    }

    /// A viewer's picture moves again after so long.
    pub(crate) fn note_freeze(&mut self, now: Instant, of: NodeId, length: Duration) {
        let Some(viewer) = self.viewers.get(&of).filter(|_| self.counts(now)) else { return };
        let (from, to) = (now - length - BLAMED, now - length);
        if viewer.losses.iter().any(|at| (from..=to).contains(at)) {
            self.frozen += length;
        }
    }

    /// What there is to tell.
    pub(crate) fn metrics(&self) -> LayerMetrics {
        let bytes = |size: DataSize| size.as_bytes() as f64;
        let minutes = self.times.1.since(self.times.0).as_secs_f64() / 60.0 * self.viewers.len() as f64;
        LayerMetrics {
            right: self.right(),
            padding: share(bytes(self.padding), bytes(self.sent)),
            padding_satisfied: share(bytes(self.padding_satisfied), bytes(self.sent)),
            own_freeze_s_per_min: share(self.frozen.as_secs_f64(), minutes),
        }
    }

    fn counts(&self, at: Instant) -> bool {
        (self.times.0..self.times.1).contains(&at)
    }

    fn right(&self) -> Option<f64> {
        let spans = span_of(self.times.0)..span_of(self.times.1).min(self.capacity.len());
        let mut got: Vec<Option<Layer>> = vec![None; self.viewers.len()];
        let (mut right, mut all) = (0, 0);
        for span in 0..spans.end {
            for (got, viewer) in got.iter_mut().zip(self.viewers.values()) {
                *got = viewer.got[span].or(*got);
            }
            if span >= spans.start {
                let rank = |layer: &Option<Layer>| layer.map_or(usize::MAX, |Layer(place)| place);
                let expected = self.expected(span);
                right += expected.iter().zip(&got).filter(|(best, got)| rank(got) <= rank(best)).count();
                all += got.len();
            }
        }
        share(right as f64, all as f64)
    }

    /// What the oracle gives, in the viewers' order.
    fn expected(&self, span: usize) -> Vec<Option<Layer>> {
        let spans_in = |time: Duration| (time.as_nanos() / SPAN.as_nanos()) as usize;
        let lately = |spans: usize| (span + 1).saturating_sub(spans)..span + 1;
        let least = self.capacity[lately(spans_in(GRACE))].iter().min().copied().unwrap_or(0);
        let budget = least as f64 * USABLE;
        let window = lately(spans_in(WEIGHED));
        let weight = |spans: &[u64]| spans[window.clone()].iter().sum::<u64>() as f64 / window.len() as f64;
        let sound = weight(&self.sound);
        let weights: Vec<f64> = (self.layers.iter().zip(&self.most))
            .map(|(layer, most)| Some(weight(layer)).filter(|weight| *weight > 0.0).unwrap_or(*most as f64))
            .collect();
        let fits = |layer: &Layer| sound + weights[layer.0] <= budget;
        let best = |viewer: &Viewer| {
            // Smaller ones are wanted where the wanted one does not fit, larger ones never.
            (viewer.wanted.0..weights.len()).map(Layer).find(fits)
        };
        self.viewers.values().map(best).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEN: Duration = Duration::from_secs(10);

    fn at(millis: u64) -> Instant {
        Instant::from_millis(millis)
    }

    /// Bytes a span of a rate in kbit/s.
    fn bytes(kbps: u64) -> u64 {
        kbps * 1_000 / 8 / 10
    }

    /// Three viewers, shown in the large, the middle and the small layer of 1600, 500 and 150 kbit/s, beside 50 kbit/s of
    /// sound; the bottleneck carries one rate until 10 s and another one until 30 s.
    fn meter(kbps: [u64; 2]) -> LayerMeter {
        meter_of(kbps, 0)
    }

    /// The same; so many of the best layers are not sent.
    fn meter_of(kbps: [u64; 2], unsent: usize) -> LayerMeter {
        let capacity = (0..300).map(|span| bytes(kbps[usize::from(span >= 100)])).collect();
        let viewers = (0..3).map(|viewer| (NodeId(viewer + 2), Layer(viewer)));
        let layers = [1_600, 500, 150];
        let most = layers.map(bytes).into();
        let mut meter = LayerMeter::new((at(5_000), at(30_000)), capacity, most, viewers);
        for span in 0..300 {
            for (layer, kbps) in layers.into_iter().enumerate().skip(unsent) {
                meter.note_source(at(span * 100), Some(Layer(layer)), DataSize::bytes(bytes(kbps)));
            }
            meter.note_source(at(span * 100), None, DataSize::bytes(bytes(50)));
        }
        meter
    }

    /// Viewers get these layers from a second on.
    fn give(meter: &mut LayerMeter, from: u64, layers: [usize; 3]) {
        for (viewer, layer) in layers.into_iter().enumerate() {
            for span in from * 10..300 {
                meter.note_layer(at(span * 100), NodeId(viewer + 2), Layer(layer));
            }
        }
    }

    #[test]
    fn the_oracle_gives_what_fits_into_nine_tenths_and_what_is_wanted() {
        for (claim, kbps, expected) in [
            ("all that is wanted", 1_834, [Some(0), Some(1), Some(2)]), // 1650 ≤ 1650.6
            ("not the large one", 1_830, [Some(1), Some(1), Some(2)]),
            ("the small ones", 600, [Some(2), Some(2), Some(2)]), // 550 > 540
            ("not even these", 200, [None, None, None]),
        ] {
            let expected = expected.map(|layer| layer.map(Layer));
            assert_eq!(meter([kbps; 2]).expected(100), expected, "{claim}");
            assert_eq!(meter_of([kbps; 2], 2).expected(100), expected, "{claim}, whatever is sent");
        }
    }

    #[test]
    fn the_right_layer_is_one_at_least_as_good() {
        for (claim, layers, right) in [
            ("just right", [0, 1, 2], 1.0),
            ("two have changed places", [1, 0, 2], 2.0 / 3.0),
            ("two too low", [2, 2, 2], 1.0 / 3.0),
            ("better than can be", [0, 0, 0], 1.0),
        ] {
            let mut meter = meter([2_700; 2]);
            give(&mut meter, 0, layers);
            assert_eq!(meter.metrics().right, Some(right), "{claim}");
        }
        assert_eq!(meter([2_700; 2]).metrics().right, Some(0.0), "nobody got anything");
    }

    #[test]
    fn a_rise_may_take_five_seconds_and_a_fall_asks_for_less_at_once() {
        for (seconds, right) in [(10, 1.0), (15, 1.0), (20, 0.8)] {
            let mut meter = meter([600, 2_700]);
            give(&mut meter, 0, [2, 2, 2]);
            give(&mut meter, seconds, [0, 1, 2]);
            let found = meter.metrics().right.unwrap();
            // 5 of 25 s, in which two of three have too little
            let expected = if right < 1.0 { 1.0 - 0.2 * 2.0 / 3.0 } else { 1.0 };
            assert!((found - expected).abs() < 0.01, "from {seconds} s on: {found}");
        }
        let mut meter = meter([2_700, 600]);
        give(&mut meter, 0, [0, 1, 2]);
        give(&mut meter, 10, [2, 2, 2]);
        assert_eq!(meter.metrics().right, Some(1.0));
    }

    #[test]
    fn padding_counts_as_satisfied_for_who_has_what_is_shown() {
        let mut meter = meter([2_700; 2]);
        let size = DataSize::bytes(1_000);
        for (viewer, layer, padding) in [(0, 1, true), (1, 1, true), (2, 2, false), (2, 2, false)] {
            meter.note_layer(at(6_000), NodeId(viewer + 2), Layer(layer));
            meter.note_sent(at(6_000), NodeId(viewer + 2), size, padding);
        }
        meter.note_sent(at(1_000), NodeId(2), size, true); // before the warm-up is over
        let found = meter.metrics();
        assert_eq!((found.padding, found.padding_satisfied), (Some(0.5), Some(0.25)));
    }

    #[test]
    fn freezes_are_our_own_after_packets_that_were_too_many() {
        for (claim, lost, seconds) in
            [("just before", 9_500, 1.0), ("long before", 8_000, 0.0), ("afterwards", 10_800, 0.0)]
        {
            let mut meter = meter([2_700; 2]);
            meter.note_overrun(at(lost), NodeId(2));
            meter.note_freeze(at(11_000), NodeId(2), Duration::from_secs(1));
            meter.note_freeze(at(11_000), NodeId(3), TEN); // somebody else's, who lost nothing
            let found = meter.metrics().own_freeze_s_per_min.unwrap();
            assert!((found - seconds * 60.0 / 75.0).abs() < 1e-9, "{claim}: {found}");
        }
    }
}
