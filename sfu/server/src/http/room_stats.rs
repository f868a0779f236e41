//! `/v1/rooms/{room}/stats`: what a room looks like from inside, for whoever may join it.
//!
//! A room that spans workers is told of by all of them.
//!
//! In: a request with a token in its `Authorization` header; `?participant=` for one participant, `?after=` for those who
//! joined later than one. Out: [`RoomStats`] with the worker's residence times, or a [`Problem`]. Time: [`ANSWER_WITHIN`].
//! Limit: one question at a time to each worker, and as many as [`Bucket`] allows.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::Json;
use axum::extract::rejection::{PathRejection, QueryRejection};
use axum::extract::{Path, Query, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use proto::ids::{ParticipantId, RoomName};
use proto::time::Instant;
use serde::Deserialize;
use sfu::worker::report::Selection;
use tokio::sync::{Semaphore, oneshot};
use tokio::time::timeout;

use super::problem::Problem;
use super::rate::Bucket;
use super::{App, signal};
use crate::clock::UnixSeconds;
use crate::media::{Answer, Command, Question};
use crate::token;

/// A worker that does not answer for so long is overloaded, or gone.
const ANSWER_WITHIN: Duration = Duration::from_secs(1);

/// Questions to one worker: one at a time, and not too many.
pub(crate) struct Asking {
    turn: Arc<Semaphore>,
    bucket: Mutex<Bucket>,
}

impl Asking {
    /// Nobody has asked yet.
    pub(crate) fn new(now: Instant) -> Self {
        Self { turn: Arc::new(Semaphore::new(1)), bucket: Mutex::new(Bucket::new(now)) }
    }

    fn may_ask(&self, now: Instant) -> bool {
        self.bucket.lock().unwrap_or_else(PoisonError::into_inner).take(now)
    }
}

/// Of whom to tell; of the room's first participants if nothing is said.
#[derive(Deserialize)]
pub(super) struct Wish {
    participant: Option<ParticipantId>,
    after: Option<ParticipantId>,
}

/// Answers.
pub(super) async fn show(
    State(app): State<Arc<App>>,
    room: Result<Path<RoomName>, PathRejection>,
    wish: Result<Query<Wish>, QueryRejection>,
    headers: HeaderMap,
) -> Response {
    let bad = |reason: String| Problem::new(StatusCode::BAD_REQUEST, "bad_request", reason);
    let asked = match (room, wish) {
        (Ok(Path(room)), Ok(Query(wish))) => answer(&app, room, wish, &headers).await,
        (Err(rejection), _) => Err(bad(rejection.body_text())),
        (_, Err(rejection)) => Err(bad(rejection.body_text())),
    };
    match asked {
        Ok(answer) => ([(header::CACHE_CONTROL, "no-store")], Json(answer)).into_response(),
        Err(problem) => problem.into_response(),
    }
}

async fn answer(app: &App, room: RoomName, wish: Wish, headers: &HeaderMap) -> Result<Answer, Problem> {
    authorize(app, &room, headers)?;
    let nowhere =
        || Problem::new(StatusCode::NOT_FOUND, "room_unknown", format!("nobody is in room {room:?}"));
    let workers = app.rooms.workers_of(&room);
    if workers.iter().any(|worker| !app.asking[*worker].may_ask(app.clock.now())) {
        let reason = "more than 50 questions a second are not answered by one worker";
        return Err(Problem::new(StatusCode::TOO_MANY_REQUESTS, "limit_reached", reason));
    }
    let Wish { participant, after } = wish;
    let selection = Selection { participant, after };
    let silent = || {
        let reason = "the room's worker does not answer";
        Problem::new(StatusCode::SERVICE_UNAVAILABLE, "unavailable", reason)
    };
    let mut whole: Option<Answer> = None;
    for worker in workers {
        let asked = ask(app, worker, room.clone(), selection.clone());
        let answer = timeout(ANSWER_WITHIN, asked).await.ok().flatten().ok_or_else(silent)?;
        whole = match (whole, answer) {
            (Some(whole), Some(answer)) => Some(whole.join(answer)),
            (whole, answer) => whole.or(answer),
        };
    }
    whole.ok_or_else(nowhere)
}

/// Whether the token may join this very room.
fn authorize(app: &App, room: &RoomName, headers: &HeaderMap) -> Result<(), Problem> {
    let verified = token::verify(signal::bearer_of(headers), &app.keys, UnixSeconds::now());
    let grant = verified
        .map_err(|refusal| Problem::new(StatusCode::UNAUTHORIZED, refusal.code(), refusal.to_string()))?;
    if grant.room == *room {
        return Ok(());
    }
    let reason = format!("the token is for room {:?}", grant.room);
    Err(Problem::new(StatusCode::FORBIDDEN, "token_other_room", reason))
}

/// The worker's word on the room; `None` if the worker is gone.
async fn ask(app: &App, worker: usize, room: RoomName, selection: Selection) -> Option<Option<Answer>> {
    let turn = Arc::clone(&app.asking[worker].turn).acquire_owned().await.ok()?;
    let (reply, answer) = oneshot::channel();
    let question = Question { room, selection, reply, turn };
    app.workers[worker].send(Command::Stats(question)).await.ok()?;
    answer.await.ok()
}
