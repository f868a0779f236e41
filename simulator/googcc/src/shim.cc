// libwebrtc's GoogCC (webrtc::GoogCcNetworkControllerFactory, api/transport/network_control.h) behind plain C.
//
// Each function tells this thread's clock the time, hands one webrtc message to the controller and keeps what the
// webrtc::NetworkControlUpdate says.

#include "shim.h"

#include <deque>
#include <memory>
#include <mutex>
#include <utility>

#include "api/rtc_event_log/rtc_event_log.h"
#include "api/transport/goog_cc_factory.h"
#include "api/transport/network_control.h"
#include "api/transport/network_types.h"
#include "rtc_base/logging.h"
#include "rtc_base/time_utils.h"

namespace {

using webrtc::DataRate;
using webrtc::DataSize;
using webrtc::TimeDelta;
using webrtc::Timestamp;

// What a run's zero is for webrtc, whose sentinels are zeros here and there.
constexpr int64_t kEpochUs = 100'000'000;

// webrtc's clock is one for the whole process, while runs go on in many threads: each thread has its own time.
thread_local int64_t thread_now_us = kEpochUs;

class ThreadClock final : public rtc::ClockInterface {
 public:
  int64_t TimeNanos() const override { return thread_now_us * 1000; }
};

void PrepareProcess() {
  static std::once_flag once;
  std::call_once(once, [] {
    rtc::LogMessage::LogToDebug(rtc::LS_NONE);
    rtc::SetClockForTesting(new ThreadClock);  // never deleted: any thread may still ask it
  });
}

// Tells this thread's clock the time.
Timestamp At(int64_t now_us) {
  thread_now_us = kEpochUs + now_us;
  return Timestamp::Micros(thread_now_us);
}

webrtc::SentPacket ToSentPacket(const lianmai_googcc_sent& from) {
  webrtc::SentPacket to;
  to.send_time = Timestamp::Micros(kEpochUs + from.at_us);
  to.size = DataSize::Bytes(from.size);
  to.sequence_number = from.number;
  to.data_in_flight = DataSize::Bytes(from.in_flight);
  to.audio = from.audio != 0;
  if (from.probe_id >= 0) {
    to.pacing_info = webrtc::PacedPacketInfo(from.probe_id, from.probe_min_packets, from.probe_min_bytes);
    to.pacing_info.send_bitrate_bps = from.probe_bps;
  }
  return to;
}

}  // namespace

struct lianmai_googcc {
  webrtc::RtcEventLogNull event_log;
  std::unique_ptr<webrtc::NetworkControllerInterface> controller;
  lianmai_googcc_state state;
  std::deque<webrtc::ProbeClusterConfig> probes;

  void Keep(const webrtc::NetworkControlUpdate& update) {
    if (update.target_rate) {
      state.target_bps = update.target_rate->target_rate.bps();
    }
    if (update.pacer_config) {
      state.pacing_bps = update.pacer_config->data_rate().bps();
      state.padding_bps = update.pacer_config->pad_rate().bps();
    }
    if (update.congestion_window) {
      state.window = update.congestion_window->IsFinite() ? update.congestion_window->bytes() : -1;
    }
    probes.insert(probes.end(), update.probe_cluster_configs.begin(), update.probe_cluster_configs.end());
  }
};

lianmai_googcc* lianmai_googcc_new(const lianmai_googcc_config* config) {
  PrepareProcess();
  auto cc = std::make_unique<lianmai_googcc>();
  cc->state = {config->start_bps, static_cast<int64_t>(config->start_bps * config->pacing_factor), 0, -1};

  webrtc::NetworkControllerConfig settings;
  settings.event_log = &cc->event_log;
  settings.constraints.at_time = At(config->now_us);
  settings.constraints.min_data_rate = DataRate::BitsPerSec(config->min_bps);
  settings.constraints.starting_rate = DataRate::BitsPerSec(config->start_bps);
  settings.constraints.max_data_rate = DataRate::BitsPerSec(config->max_bps);
  settings.stream_based_config.at_time = At(config->now_us);
  settings.stream_based_config.pacing_factor = config->pacing_factor;
  settings.stream_based_config.requests_alr_probing = true;
  settings.stream_based_config.max_padding_rate = DataRate::Zero();
  cc->controller = webrtc::GoogCcNetworkControllerFactory().Create(settings);

  webrtc::NetworkAvailability available;
  available.at_time = At(config->now_us);
  available.network_available = true;
  cc->Keep(cc->controller->OnNetworkAvailability(available));
  return cc.release();
}

void lianmai_googcc_free(lianmai_googcc* cc) {
  delete cc;
}

void lianmai_googcc_handle_sent(lianmai_googcc* cc, const lianmai_googcc_sent* packet) {
  At(packet->at_us);
  cc->Keep(cc->controller->OnSentPacket(ToSentPacket(*packet)));
}

void lianmai_googcc_handle_feedback(lianmai_googcc* cc, const lianmai_googcc_feedback* feedback) {
  webrtc::TransportPacketsFeedback report;
  report.feedback_time = At(feedback->now_us);
  report.prior_in_flight = DataSize::Bytes(feedback->prior_in_flight);
  report.data_in_flight = DataSize::Bytes(feedback->in_flight);
  report.packet_feedbacks.resize(feedback->count);
  for (size_t i = 0; i < feedback->count; ++i) {
    const lianmai_googcc_result& result = feedback->results[i];
    report.packet_feedbacks[i].sent_packet = ToSentPacket(result.sent);
    if (result.received_us >= 0) {
      report.packet_feedbacks[i].receive_time = Timestamp::Micros(kEpochUs + result.received_us);
    }
  }
  cc->Keep(cc->controller->OnTransportPacketsFeedback(std::move(report)));
}

void lianmai_googcc_handle_round_trip(lianmai_googcc* cc, int64_t now_us, int64_t round_trip_us) {
  webrtc::RoundTripTimeUpdate update;
  update.receive_time = At(now_us);
  update.round_trip_time = TimeDelta::Micros(round_trip_us);
  update.smoothed = false;  // "smoothed" ones are for other controllers: GoogCC leaves them aside
  cc->Keep(cc->controller->OnRoundTripTimeUpdate(update));
}

void lianmai_googcc_handle_loss(lianmai_googcc* cc, const lianmai_googcc_loss* loss) {
  webrtc::TransportLossReport report;
  report.receive_time = At(loss->now_us);
  report.start_time = Timestamp::Micros(kEpochUs + loss->from_us);
  report.end_time = report.receive_time;
  report.packets_lost_delta = loss->lost;
  report.packets_received_delta = loss->received;
  cc->Keep(cc->controller->OnTransportLossReport(report));
}

void lianmai_googcc_handle_interval(lianmai_googcc* cc, int64_t now_us) {
  webrtc::ProcessInterval interval;
  interval.at_time = At(now_us);
  cc->Keep(cc->controller->OnProcessInterval(interval));
}

lianmai_googcc_state lianmai_googcc_read(const lianmai_googcc* cc) {
  return cc->state;
}

int32_t lianmai_googcc_poll_probe(lianmai_googcc* cc, lianmai_googcc_probe* probe) {
  if (cc->probes.empty()) {
    return 0;
  }
  const webrtc::ProbeClusterConfig& next = cc->probes.front();
  *probe = {next.id, next.target_probe_count, next.target_data_rate.bps(), next.target_duration.us()};
  cc->probes.pop_front();
  return 1;
}

int64_t lianmai_googcc_interval_us(void) {
  return webrtc::GoogCcNetworkControllerFactory().GetProcessInterval().us();
}
