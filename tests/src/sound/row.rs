//! Rows: what a policy made of a path over all seeds, and whether that is as it should be.

use serde::Serialize;
use simulator::report::table::{self, Align};
use simulator::sweep::Seeds;

use super::play::{INTERVAL, PACKETS_A_SECOND, Play};
use super::{Point, Policy};

/// See the module's description. Shares are 0 to 1, of frames unless said otherwise.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Row {
    /// The share of packets that the path loses on average.
    pub loss: f64,
    /// How losses hang together: `iid`, `L3`.
    pub burst: String,
    /// The policy.
    pub policy: &'static str,
    /// The seeds.
    pub seeds: Seeds,
    /// How many frames were played, of 20 ms.
    pub frames: u64,
    /// The share of packets that were lost.
    pub lost: f64,
    /// Neither they nor what carries them again were there in time.
    pub missing: f64,
    /// The decoder made them up: the rate of concealment.
    pub concealed: f64,
    /// The same, of all frames, where there was something to be heard.
    pub audible: f64,
    /// Gaps a minute, of whatever length.
    pub gaps_per_min: f64,
    /// The longest, in milliseconds.
    pub longest_ms: u64,
    /// Bytes on the wire beyond those of plain Opus, over those.
    pub overhead: f64,
    /// The sound without losses over what differs from it, in decibels; null if nothing does.
    pub snr_db: Option<f64>,
    /// Bytes on the wire.
    #[serde(skip)]
    pub(super) bytes: u64,
    #[serde(skip)]
    point: Point,
    #[serde(skip)]
    kind: Policy,
}

impl Row {
    /// What all seeds made together; `plain` is how many bytes plain Opus takes.
    pub(super) fn new(point: Point, policy: Policy, seeds: Seeds, play: &Play, plain: u64) -> Self {
        let share = |part: u64| part as f64 / play.frames.max(1) as f64;
        let minutes = play.frames as f64 / f64::from(PACKETS_A_SECOND * 60);
        Self {
            loss: point.loss,
            burst: point.burst.to_string(),
            policy: policy.name(),
            seeds,
            frames: play.frames,
            lost: share(play.lost),
            missing: share(play.missing),
            concealed: share(play.concealed),
            audible: share(play.audible),
            gaps_per_min: play.gaps as f64 / minutes,
            longest_ms: play.longest * INTERVAL.as_millis() as u64,
            overhead: play.bytes as f64 / plain.max(1) as f64 - 1.0,
            snr_db: (play.noise > 0.0).then(|| 10.0 * (play.signal / play.noise).log10()),
            bytes: play.bytes,
            point,
            kind: policy,
        }
    }
}

/// The rows as a table.
pub fn lines(rows: &[Row]) -> Vec<String> {
    let (words, cells) = cells(rows);
    let columns: Vec<(String, Align)> = words
        .iter()
        .enumerate()
        .map(|(place, word)| ((*word).to_owned(), if place < 2 { Align::Left } else { Align::Right }))
        .collect();
    table::lines(&columns, &cells)
}

/// The same as headings and cells.
pub fn cells(rows: &[Row]) -> ([&'static str; 9], Vec<Vec<String>>) {
    let words = [
        "path",
        "policy",
        "missing, %",
        "concealed, %",
        "audible, %",
        "gaps/min",
        "longest, ms",
        "overhead, %",
        "SNR, dB",
    ];
    let percent = |share: f64| format!("{:.2}", share * 100.0);
    let cells = |row: &Row| {
        vec![
            row.point.to_string(),
            row.policy.to_owned(),
            percent(row.missing),
            percent(row.concealed),
            percent(row.audible),
            format!("{:.1}", row.gaps_per_min),
            row.longest_ms.to_string(),
            format!("{:.1}", row.overhead * 100.0),
            row.snr_db.map_or_else(|| table::NOTHING.to_owned(), |snr| format!("{snr:.1}")),
        ]
    };
    (words, rows.iter().map(cells).collect())
}

/// What RED adds at most to bytes on the wire: two predecessors of a payload that is half of its packet, and their headers.
const OVERHEAD_MAX: f64 = 1.3;

/// What the rows of a path, one of each policy, should show and do not; nothing if all is as it should be.
pub fn verdicts(rows: &[Row]) -> Vec<String> {
    rows.chunk_by(|one, other| one.point == other.point).flat_map(judge).collect()
}

fn judge(rows: &[Row]) -> Vec<String> {
    let of = |policy| rows.iter().find(|row| row.kind == policy);
    let (Some(plain), Some(in_band), Some(red)) = (of(Policy::Plain), of(Policy::InBand), of(Policy::Red))
    else {
        return vec!["a policy is missing".to_owned()];
    };
    let point = plain.point;
    let is_lossy = point.loss > 0.0;
    // Gone for good with both packets that repeat it; the first seconds are spent learning that there are losses.
    let channel = point.channel();
    let again = channel.loss + (1.0 - channel.loss) * channel.correlation;
    let residual = point.loss * again * again;
    let claims = [
        ("the path loses what it should", (plain.lost - point.loss).abs() <= 0.15 * point.loss + 1e-9),
        (
            "all policies lose the same packets",
            rows.iter().all(|row| row.lost.total_cmp(&plain.lost).is_eq()),
        ),
        ("plain Opus misses what is lost", plain.missing.total_cmp(&plain.lost).is_eq()),
        (
            "in-band redundancy leaves fewer gaps than nothing",
            !is_lossy || in_band.concealed < 0.8 * plain.concealed,
        ),
        ("RED leaves fewer gaps than in-band", !is_lossy || red.concealed < 0.8 * in_band.concealed),
        ("RED leaves fewer audible ones", !is_lossy || red.audible < 0.8 * in_band.audible),
        ("RED leaves no more than twice what two repeats cannot save", red.audible <= 2.0 * residual + 0.005),
        ("RED saves no more than two repeats can", red.missing >= 0.7 * residual),
        (
            "RED sounds nearest to the sound without losses",
            !is_lossy || red.snr_db > in_band.snr_db && in_band.snr_db > plain.snr_db,
        ),
        (
            "RED costs nothing where nothing is lost",
            is_lossy || red.bytes == plain.bytes && red.concealed <= 0.0,
        ),
        ("RED costs what two repeats cost at most", red.overhead <= OVERHEAD_MAX),
        ("RED is not for nothing", !is_lossy || red.overhead >= 0.3),
    ];
    let missed = claims.into_iter().filter(|(_, is_met)| !is_met);
    missed.map(|(claim, _)| format!("{point}: {claim}: not so")).collect()
}
