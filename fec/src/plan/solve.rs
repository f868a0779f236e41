//! The least that meets a deadline: the dynamic programme over rounds (references §4.3 and §4.4).
//!
//! A block of which `d` packets are missing, with `r` rounds left, is sent some more packets; what is still missing after
//! them has `r` − 1 rounds left. With a price on a block that never becomes whole, the cheapest choice at each state follows
//! from those of the round after it:
//!
//! V₀(0) = 0, V₀(d) = price; Vᵣ(d) = min over what to send of [ packets + Σ P(d′ still missing)·(late + Vᵣ₋₁(d′)) ]
//!
//! `late` is what a further round costs by the time it takes, in packets. Of the choices, those that cannot be the best are
//! left out: where more is missing or a failure costs more, not less is sent; what costs more than all of the best choice
//! does, and what lies far behind it.

/// What is sent in a round.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Send {
    /// All packets together.
    pub(super) packets: u8,
    /// How many of them are parity over what is missing, where that is not a matter of course.
    pub(super) parities: u8,
}

/// What may be sent in a round, and what it leads to.
pub(super) trait Scheme {
    /// For so many missing packets: choices by ascending number of packets, each with the chances that 1, 2, 3 … packets
    /// are missing afterwards.
    fn choices(&self, missing: usize) -> impl Iterator<Item = (Send, &[f64])>;
}

/// The best choice at a state, and what is to be expected from there on.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub(super) struct Step {
    /// What to send.
    pub(super) send: Send,
    /// Packets, lateness and failure together, in packets.
    pub(super) value: f64,
    /// The chance that the block does not become whole.
    pub(super) fail: f64,
    /// How many packets are sent, this round's included.
    pub(super) sent: f64,
}

/// The states after the last round, when `sizes` − 1 packets at most are missing: what is missing then has failed.
pub(super) fn after_all(sizes: usize, price: f64) -> Vec<Step> {
    let failed = Step { value: price, fail: 1.0, ..Step::default() };
    (0..sizes).map(|missing| if missing == 0 { Step::default() } else { failed }).collect()
}

/// How many choices in a row may be no better before the search ends.
const PATIENCE: usize = 12;

/// The best choice for `missing` packets that sends at least `from`, when afterwards things stand as in `next`.
pub(super) fn best(scheme: &impl Scheme, (missing, from): (usize, u8), next: &[Step], late: f64) -> Step {
    let value = |(send, chances): (Send, &[f64])| {
        let later: f64 =
            chances.iter().zip(&next[1..]).map(|(chance, step)| chance * (late + step.value)).sum();
        f64::from(send.packets) + later
    };
    let mut least = f64::INFINITY;
    let mut chosen = None;
    let mut worse = 0;
    for choice in scheme.choices(missing).skip_while(|(send, _)| send.packets < from) {
        if f64::from(choice.0.packets) >= least || worse >= PATIENCE {
            break;
        }
        let value = value(choice);
        worse += 1;
        if value < least {
            (least, chosen, worse) = (value, Some(choice), 0);
        }
    }
    let Some((send, chances)) = chosen else { return Step::default() };
    let over = |of: fn(&Step) -> f64| -> f64 {
        chances.iter().zip(&next[1..]).map(|(chance, step)| chance * of(step)).sum()
    };
    Step {
        send,
        value: least,
        fail: over(|step| step.fail),
        sent: f64::from(send.packets) + over(|step| step.sent),
    }
}

/// The states with one round left, two, … as many as `cheaper` has, which is the same for a lower price of a failure.
pub(super) fn solve(scheme: &impl Scheme, cheaper: &[Vec<Step>], prices: Prices) -> Vec<Vec<Step>> {
    let mut solved: Vec<Vec<Step>> = Vec::with_capacity(cheaper.len());
    let end = after_all(cheaper.first().map_or(1, Vec::len), prices.failure);
    for cheaper in cheaper {
        // A failure is not late on top of it.
        let (next, late) = solved.last().map_or((&end, 0.0), |next| (next, prices.late));
        let mut steps = vec![Step::default(); cheaper.len()];
        for missing in 1..cheaper.len() {
            let from = cheaper[missing].send.packets;
            steps[missing] = best(scheme, (missing, from), next, late);
        }
        solved.push(steps);
    }
    solved
}

/// What things cost, in packets.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Prices {
    /// A block that does not become whole.
    pub(super) failure: f64,
    /// A further round.
    pub(super) late: f64,
}
