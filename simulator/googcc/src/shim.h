// The C face of libwebrtc's GoogCC, as src/linked.rs declares it too: keep both alike.
//
// Sizes are bytes, rates bits a second, times microseconds since the beginning of a run.

#ifndef LIANMAI_GOOGCC_SHIM_H_
#define LIANMAI_GOOGCC_SHIM_H_

#include <cstddef>
#include <cstdint>

extern "C" {

struct lianmai_googcc;

struct lianmai_googcc_config {
  int64_t now_us;
  int64_t min_bps;
  int64_t start_bps;
  int64_t max_bps;
  double pacing_factor;
};

struct lianmai_googcc_sent {
  int64_t number;
  // When it left.
  int64_t at_us;
  int64_t size;
  // What was in flight before it.
  int64_t in_flight;
  int32_t audio;
  // -1 if it belongs to no probe; the rest then says nothing.
  int32_t probe_id;
  int32_t probe_min_packets;
  int32_t probe_min_bytes;
  int32_t probe_bps;
};

struct lianmai_googcc_result {
  lianmai_googcc_sent sent;
  // -1 if it is taken for lost.
  int64_t received_us;
};

struct lianmai_googcc_feedback {
  int64_t now_us;
  // What was in flight before this feedback, and what is after it.
  int64_t prior_in_flight;
  int64_t in_flight;
  const lianmai_googcc_result* results;
  size_t count;
};

struct lianmai_googcc_loss {
  int64_t from_us;
  int64_t now_us;
  uint64_t lost;
  uint64_t received;
};

struct lianmai_googcc_state {
  int64_t target_bps;
  int64_t pacing_bps;
  int64_t padding_bps;
  // -1 if only the rate limits.
  int64_t window;
};

struct lianmai_googcc_probe {
  int32_t id;
  int32_t min_packets;
  int64_t bps;
  int64_t duration_us;
};

lianmai_googcc* lianmai_googcc_new(const lianmai_googcc_config* config);
void lianmai_googcc_free(lianmai_googcc* cc);
void lianmai_googcc_handle_sent(lianmai_googcc* cc, const lianmai_googcc_sent* packet);
void lianmai_googcc_handle_feedback(lianmai_googcc* cc, const lianmai_googcc_feedback* feedback);
void lianmai_googcc_handle_round_trip(lianmai_googcc* cc, int64_t now_us, int64_t round_trip_us);
void lianmai_googcc_handle_loss(lianmai_googcc* cc, const lianmai_googcc_loss* loss);
void lianmai_googcc_handle_interval(lianmai_googcc* cc, int64_t now_us);
lianmai_googcc_state lianmai_googcc_read(const lianmai_googcc* cc);
// 1 and the oldest probe not yet taken, or 0.
int32_t lianmai_googcc_poll_probe(lianmai_googcc* cc, lianmai_googcc_probe* probe);
int64_t lianmai_googcc_interval_us(void);

}  // extern "C"

#endif  // LIANMAI_GOOGCC_SHIM_H_
