//! What a run looked like around a moment, as text: what `sim replay` prints about a violation.
//!
//! [`around`] shows two seconds in spans, [`EventLog`] every single event of a shorter time.

use std::ops::RangeInclusive;

use proto::time::Instant;

use super::table::{self, Align};
use crate::node::Fact;
use crate::packet::{Packet, Payload};
use crate::timeline::{FlowTimeline, SPAN_MS, Timeline, Transition};
use crate::world::{Event, Observer};

/// How much is shown before the moment and after it, in spans of the timeline: two seconds, and half a second.
const SPANS_BEFORE: usize = 20;
/// See [`SPANS_BEFORE`].
const SPANS_AFTER: usize = 5;

/// The spans around a moment; the one that holds it is marked. Behind the end of a timeline it is the end that is shown.
pub fn around(timeline: &Timeline, at: Instant) -> Vec<String> {
    let held = ((at.as_nanos() / (SPAN_MS * 1_000_000)) as usize).min(timeline.capacity.len());
    let first = held.saturating_sub(SPANS_BEFORE);
    let last = (held + SPANS_AFTER + 1).min(timeline.capacity.len());
    let right = |text: &str| (text.to_owned(), Align::Right);
    let mut columns = vec![
        (String::new(), Align::Left),
        right("s"),
        right("capacity"),
        right("others"),
        right("queue, ms"),
    ];
    for flow in &timeline.flows {
        columns.extend([
            (flow.name.clone(), Align::Left),
            right("target"),
            right("sent"),
            right("received"),
            right("lost"),
        ]);
    }
    let rows: Vec<Vec<String>> = (first..last)
        .map(|span| {
            let seconds = span as f64 * SPAN_MS as f64 / 1e3;
            let mark = if span == held { ">" } else { "" };
            let mut cells = vec![
                mark.to_owned(),
                format!("{seconds:.1}"),
                value(&timeline.capacity, span),
                value(&timeline.others, span),
                value(&timeline.queue_ms, span),
            ];
            for flow in &timeline.flows {
                cells.push(state(flow, seconds).to_owned());
                cells.extend([&flow.target, &flow.sent, &flow.received].map(|series| value(series, span)));
                cells.push(lost(flow, span).to_string());
            }
            cells
        })
        .collect();
    if rows.is_empty() { Vec::new() } else { table::lines(&columns, &rows) }
}

fn value(series: &[f64], span: usize) -> String {
    series.get(span).map_or_else(|| table::NOTHING.to_owned(), |value| format!("{value:.3}"))
}

fn lost(flow: &FlowTimeline, span: usize) -> u32 {
    let series = [&flow.lost_random, &flow.lost_overflow, &flow.lost_policer];
    series.into_iter().filter_map(|series| series.get(span)).sum()
}

/// The phase of a flow's estimator at the end of a span that begins at `seconds`.
fn state(flow: &FlowTimeline, seconds: f64) -> &str {
    let end = seconds + SPAN_MS as f64 / 1e3;
    flow.states.iter().take_while(|(from, _)| *from < end).last().map_or(table::NOTHING, |(_, state)| state)
}

/// Every change of phase and of what the path is taken for, a line each, in the order of time.
pub fn phases(timeline: &Timeline) -> Vec<String> {
    let several = timeline.flows.len() > 1;
    let mut told: Vec<(f64, String)> = Vec::new();
    for flow in &timeline.flows {
        let who = if several { format!("{}: ", flow.name) } else { String::new() };
        let changes = flow.transitions.iter();
        told.extend(
            changes.map(|Transition { at, from, to, reason }| (*at, format!("{who}{from} → {to}: {reason}"))),
        );
        told.extend(flow.classes.iter().map(|(at, class)| (*at, format!("{who}the path is {class}"))));
    }
    told.sort_by(|a, b| a.0.total_cmp(&b.0));
    told.into_iter().map(|(at, what)| format!("{at:>9.3} s  {what}")).collect()
}

/// The most lines that an event log keeps: more than anybody reads.
const LINES_MAX: usize = 2_000;

/// Writes down every event of some time.
#[derive(Debug)]
pub struct EventLog {
    times: RangeInclusive<Instant>,
    lines: Vec<String>,
    /// Events that found no room.
    left_out: usize,
}

impl EventLog {
    /// A log of these times.
    pub fn new(times: RangeInclusive<Instant>) -> Self {
        Self { times, lines: Vec::new(), left_out: 0 }
    }

    /// What happened, an event a line.
    pub fn into_lines(mut self) -> Vec<String> {
        if self.left_out > 0 {
            self.lines.push(format!("and {} events more", self.left_out));
        }
        self.lines
    }
}

impl Observer for EventLog {
    fn observe(&mut self, now: Instant, event: &Event<'_>) {
        if !self.times.contains(&now) {
            return;
        }
        if self.lines.len() == LINES_MAX {
            self.left_out += 1;
            return;
        }
        self.lines.push(format!("{:>12.6} s  {}", now.as_nanos() as f64 / 1e9, told(event)));
    }
}

/// An event in words.
fn told(event: &Event<'_>) -> String {
    match event {
        Event::Sent(packet) => format!("sent       {}", of_packet(packet)),
        Event::Dropped { link, packet, cause } => {
            format!("dropped    {} at link {}: {cause:?}", of_packet(packet), link.0)
        }
        Event::Passed { link, packet, queued } => {
            let waited = queued.as_secs_f64() * 1e3;
            format!("passed     {} link {} after {waited:.3} ms in its queue", of_packet(packet), link.0)
        }
        Event::Delivered(packet) => format!("delivered  {}", of_packet(packet)),
        Event::Fact { node, fact } => format!("fact       node {}: {}", node.0, of_fact(fact)),
        Event::Replanned { link, plan } => format!("replanned  link {}: {plan:?}", link.0),
        Event::Spinning(entity) => format!("spinning   {entity:?}"),
        Event::WokenLate(entity) => format!("late       {entity:?}"),
        Event::Flooding(node) => format!("flooding   node {}", node.0),
        Event::Unroutable(packet) => format!("unroutable {}", of_packet(packet)),
    }
}

fn of_packet(packet: &Packet) -> String {
    let inside = match &packet.payload {
        Payload::Filler => "filler".to_owned(),
        Payload::Media(media) => {
            let part = media.part.map(|part| {
                let key = if part.key { " (key)" } else { "" };
                format!(", picture {}{key} part {}/{}", part.frame, part.index + 1, part.parts)
            });
            format!("{:?} {}{}", media.class, media.seq, part.unwrap_or_default())
        }
        Payload::Datagram(bytes) => format!("datagram of {} B", bytes.len()),
        Payload::Message(text) => format!("message of {} B", text.len()),
    };
    let Packet { number, flow, from, to, size, .. } = packet;
    format!("#{number} flow {} {}→{} {size} [{inside}]", flow.0, from.0, to.0)
}

/// A fact as it is, on one line.
fn of_fact(fact: &Fact) -> String {
    format!("{fact:?}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use cc::{Ecn, PacketClass};
    use proto::units::DataSize;

    use crate::packet::{FlowId, LinkId, MediaPacket, NodeId};
    use crate::report::made_up;

    fn packet() -> Packet {
        let media =
            MediaPacket { transport_seq: 9, seq: 7, class: PacketClass::Video, part: None, parity: None };
        Packet {
            number: 42,
            flow: FlowId(0),
            from: NodeId(0),
            to: NodeId(1),
            size: DataSize::bytes(1_200),
            ecn: Ecn::NotCapable,
            sent: Instant::ZERO,
            payload: Payload::Media(media),
        }
    }

    #[test]
    fn a_log_tells_what_happened_in_its_time_and_no_more_than_fits() {
        let mut log = EventLog::new(Instant::from_millis(10)..=Instant::from_millis(20));
        let (packet, link) = (packet(), LinkId(3));
        for ms in [9, 10, 20, 21] {
            log.observe(Instant::from_millis(ms), &Event::Sent(&packet));
        }
        let queued = std::time::Duration::from_micros(1_500);
        log.observe(Instant::from_millis(15), &Event::Passed { link, packet: &packet, queued });
        let lines = log.into_lines();
        assert_eq!(lines.len(), 3, "{lines:#?}");
        assert_eq!(lines[0], "    0.010000 s  sent       #42 flow 0 0→1 1200 B [Video 7]");
        assert!(lines[2].ends_with("link 3 after 1.500 ms in its queue"), "{}", lines[2]);

        let mut log = EventLog::new(Instant::ZERO..=Instant::ZERO);
        (0..LINES_MAX + 5).for_each(|_| log.observe(Instant::ZERO, &Event::Delivered(&packet)));
        assert_eq!(log.into_lines().last().map(String::as_str), Some("and 5 events more"));
    }

    #[test]
    fn phases_are_told_in_the_order_of_time() {
        let lines = phases(&made_up::timeline(1, 1));
        assert_eq!(lines[0], "    2.000 s  the path is clean");
        assert_eq!(lines[1], "    3.000 s  startup → increase: queue grows");
        assert_eq!(lines.len(), 6);
        assert!(phases(&made_up::timeline(2, 1))[0].contains("camera 1: the path"), "whose, if several");
    }

    #[test]
    fn the_moment_is_marked_and_what_lies_around_it_is_shown() {
        let timeline = made_up::timeline(1, 1);
        let lines = around(&timeline, Instant::from_millis(5_050));
        assert_eq!(lines.len(), 1 + SPANS_BEFORE + 1 + SPANS_AFTER);
        let marked: Vec<&String> = lines.iter().filter(|line| line.starts_with('>')).collect();
        assert!(marked.len() == 1 && marked[0].contains(" 5.0 "), "{lines:#?}");
        assert_eq!(
            around(&timeline, Instant::from_millis(0)).len(),
            1 + 1 + SPANS_AFTER,
            "nothing before the start"
        );
        let lines = around(&timeline, Instant::from_millis(10_000_000));
        assert!(
            lines.len() == 1 + SPANS_BEFORE && lines.iter().all(|line| !line.starts_with('>')),
            "{lines:#?}"
        );
        assert!(around(&Timeline::default(), Instant::ZERO).is_empty());
    }
}
