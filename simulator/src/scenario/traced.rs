//! A flow over a link that was recorded: delivery opportunities from a trace.

use std::sync::Arc;
use std::time::Duration;

use proto::units::DataSize;

use super::Scenario;
use super::draft::{Draft, secs};
use crate::link::plan::{Depth, Opportunities, Queue, Rate};

/// The longest run: the references' traces are shorter or repeat themselves.
const LONGEST: Duration = Duration::from_secs(140);

/// How much waits before a cell, in time at the mean rate: cells have deep buffers for each user.
const DEPTH: Duration = Duration::from_secs(1);

/// One flow over a recorded link.
pub fn traced(trace: &Arc<Opportunities>) -> Scenario {
    let mean = trace.mean();
    let depth = Queue::DropTail(Depth::Bytes((mean * DEPTH).max(DataSize::kilobytes(30))));
    let about = format!("one flow over a recorded link of {mean} on average");
    let rate = Rate::Opportunities(Arc::clone(trace));
    let draft = Draft::new("trace", &about, mean).flow(|_| {}).forward(|link| {
        link.rate = rate;
        link.queue = depth;
        link.jitter = None; // the trace has its own
    });
    draft.lasting(trace.period.min(LONGEST).max(secs(20)).as_secs()).done()
}
