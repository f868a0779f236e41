// Runs in every page before its own scripts: watches what the page's PeerConnections send and receive, without the
// page's help. Rust calls `probe.*` (see room.rs).
"use strict";
{
  const connections = [];
  const watched = new Map(); // receiver track id -> frames seen since `watch`
  const relay = { port: 0 };

  const NativeConnection = window.RTCPeerConnection;
  window.RTCPeerConnection = class extends NativeConnection {
    constructor(...args) {
      super(...args);
      connections.push(this);
    }
    // Sends media through the test's relay: only the port of the server's candidates changes.
    setRemoteDescription(description, ...rest) {
      if (relay.port && description?.sdp) {
        const sdp = description.sdp.replace(/^(a=candidate:\S+ \d+ udp \d+ \S+) \d+/gim, `$1 ${relay.port}`);
        return super.setRemoteDescription({ type: description.type, sdp }, ...rest);
      }
      return super.setRemoteDescription(description, ...rest);
    }
  };

  // What the server said, with the time, whatever the page makes of it.
  const notices = [];
  const NativeSocket = window.WebSocket;
  window.WebSocket = class extends NativeSocket {
    constructor(...args) {
      super(...args);
      sockets.push(this);
      this.addEventListener("message", ({ data }) => {
        if (typeof data !== "string") return;
        const notice = JSON.parse(data);
        notices.push({ at_ms: performance.now(), ...notice });
      });
    }
  };
  const sockets = [];
  const said = (type) => notices.filter((notice) => notice.type === type);
  const me = () => said("joined").at(-1)?.participant ?? null;

  // Who is in which of this page's slots, as the server said last.
  const seats = () => {
    const { slots } = notices.findLast((notice) => notice.slots) ?? { slots: [] };
    return Object.fromEntries(slots.map(({ mid, participant }) => [mid, participant]));
  };

  // The tone would be taken for an echo or for noise: the fake microphone is heard as it is.
  const nativeGetUserMedia = MediaDevices.prototype.getUserMedia;
  MediaDevices.prototype.getUserMedia = function (constraints = {}) {
    const audio = typeof constraints.audio === "object" ? { ...constraints.audio } : constraints.audio;
    const raw = { echoCancellation: false, noiseSuppression: false, autoGainControl: false };
    return nativeGetUserMedia.call(this, { ...constraints, audio: audio ? { ...audio, ...raw } : audio });
  };

  const open = () => connections.filter((connection) => connection.connectionState !== "closed");
  const receivers = (kind) =>
    open().flatMap((connection) =>
      connection
        .getTransceivers()
        .filter((t) => t.receiver.track.kind === kind && /recv/.test(t.currentDirection ?? ""))
        .map((t) => ({ mid: t.mid, track: t.receiver.track })),
    );

  const reports = async () => {
    const all = [];
    for (const connection of open()) {
      const stats = await connection.getStats();
      for (const report of stats.values()) {
        const codec = stats.get(report.codecId)?.mimeType ?? "";
        all.push({ ...report, codec });
      }
    }
    return all;
  };

  // Every video that has been decoded at all, and what of it.
  const videos = async () =>
    (await reports())
      .filter((r) => r.type === "inbound-rtp" && r.kind === "video" && r.framesDecoded > 0)
      .map((r) => ({
        mid: r.mid ?? "",
        codec: r.codec,
        decoded: r.framesDecoded,
        width: r.frameWidth ?? 0,
        height: r.frameHeight ?? 0,
        freezes: r.freezeCount ?? 0,
        frozen_s: r.totalFreezesDuration ?? 0,
        waited_s: r.jitterBufferDelay ?? 0,
        emitted: r.jitterBufferEmittedCount ?? 0,
        lost: r.packetsLost ?? 0,
        received: r.packetsReceived ?? 0,
        bytes: r.bytesReceived ?? 0,
        recovered: r.retransmittedPacketsReceived ?? 0,
        nacks: r.nackCount ?? 0,
        plis: r.pliCount ?? 0,
      }));

  // Every sound of which packets have come, and what of it.
  const sounds = async () =>
    (await reports())
      .filter((r) => r.type === "inbound-rtp" && r.kind === "audio" && r.packetsReceived > 0)
      .map((r) => ({
        samples: r.totalSamplesReceived ?? 0,
        concealed: r.concealedSamples ?? 0,
        received: r.packetsReceived,
        lost: r.packetsLost ?? 0,
      }));

  // From now on the browser knows no RED.
  const plainSound = () => {
    const native = RTCRtpReceiver.getCapabilities.bind(RTCRtpReceiver);
    RTCRtpReceiver.getCapabilities = (kind) => {
      const { codecs, ...others } = native(kind);
      return { ...others, codecs: codecs.filter((codec) => codec.mimeType.toLowerCase() !== "audio/red") };
    };
  };

  // Every encoding that is being sent.
  const sent = async () =>
    (await reports())
      .filter((r) => r.type === "outbound-rtp" && r.kind === "video")
      .map((r) => ({
        rid: r.rid ?? "",
        codec: r.codec,
        frames: r.framesSent ?? 0,
        width: r.frameWidth ?? 0,
        height: r.frameHeight ?? 0,
        key_frames: r.keyFramesEncoded ?? 0,
        active: r.active ?? true,
        limited_by: r.qualityLimitationReason ?? "",
        target_kbps: Math.round((r.targetBitrate ?? 0) / 1000),
        nacks: r.nackCount ?? 0,
        plis: r.pliCount ?? 0,
      }));

  // Notes when each decoded frame arrived, from now on, and keeps the newest one.
  const watch = () => {
    for (const { mid, track } of receivers("video")) {
      if (watched.has(track.id)) continue;
      const entry = { mid, frames: [], newest: null };
      watched.set(track.id, entry);
      const reader = new MediaStreamTrackProcessor({ track: track.clone() }).readable.getReader();
      (async () => {
        for (;;) {
          const { value, done } = await reader.read();
          if (done) return;
          entry.frames.push({ at_ms: performance.now(), width: value.displayWidth, height: value.displayHeight });
          entry.newest?.close();
          entry.newest = value;
        }
      })();
    }
  };
  const forget = () => {
    for (const entry of watched.values()) entry.frames.length = 0;
  };
  const frames = () =>
    [...watched.values()].filter((e) => e.newest).map((e) => ({ mid: e.mid, frames: e.frames }));

  const canvas = new OffscreenCanvas(320, 180);
  const context = canvas.getContext("2d", { willReadFrequently: true });
  // The mean color around a point given in shares of the picture.
  const colorAt = (x, y) => {
    const size = 8;
    const { data } = context.getImageData(x * canvas.width - size / 2, y * canvas.height - size / 2, size, size);
    return [0, 1, 2].map((channel) => {
      let sum = 0;
      for (let i = channel; i < data.length; i += 4) sum += data[i];
      return Math.round(sum / (data.length / 4));
    });
  };
  // What the newest picture of each watched video shows: its four patches and the number in its bar code.
  const pictures = () =>
    [...watched.values()]
      .filter((e) => e.newest)
      .map((e) => {
        context.drawImage(e.newest, 0, 0, canvas.width, canvas.height);
        const patches = [[0.25, 0.22], [0.75, 0.22], [0.25, 0.69], [0.75, 0.69]].map(([x, y]) => colorAt(x, y));
        const cells = Array.from({ length: 10 }, (_, cell) => colorAt((cell + 0.5) / 10, 0.5)[1] > 128);
        const readable = cells[0] && !cells[1];
        const number = cells.slice(2).reduce((value, bit) => value * 2 + (bit ? 1 : 0), 0);
        return { mid: e.mid, patches, number: readable ? number : null };
      });

  // The strongest frequency of each audio that arrives, and how far it stands above the middle of the spectrum.
  const tones = async () => {
    const audio = new AudioContext({ sampleRate: 48000 });
    await audio.resume();
    const active = (await reports()).filter((r) => r.type === "inbound-rtp" && r.kind === "audio");
    const mids = new Set(active.filter((r) => r.packetsReceived > 20).map((r) => r.mid));
    const heard = receivers("audio").filter(({ mid }) => mids.has(mid)).map(({ mid, track }) => {
      const stream = new MediaStream([track]);
      const element = new Audio(); // Chromium decodes remote audio only for an element
      element.muted = true;
      element.srcObject = stream;
      element.play().catch(() => {});
      const analyser = new AnalyserNode(audio, { fftSize: 8192, smoothingTimeConstant: 0.3 });
      audio.createMediaStreamSource(stream).connect(analyser);
      return { mid, analyser, element };
    });
    await new Promise((resolve) => setTimeout(resolve, 1500));
    const result = heard.map(({ mid, analyser, element }) => {
      const bins = new Float32Array(analyser.frequencyBinCount);
      analyser.getFloatFrequencyData(bins);
      const peak = bins.reduce((best, value, index) => (value > bins[best] ? index : best), 0);
      const middle = [...bins].sort((a, b) => a - b)[bins.length >> 1];
      element.srcObject = null;
      const finite = (value) => (Number.isFinite(value) ? value : -200);
      return { mid, hertz: (peak * 48000) / 8192, above_db: finite(bins[peak]) - finite(middle) };
    });
    await audio.close();
    return result;
  };

  // The videos of the page itself that show something.
  const shown = () =>
    [...document.querySelectorAll("video")].filter((v) => v.videoWidth > 0 && !v.paused).length;

  // The ways that media goes: by which protocol, and how long there and back.
  const ways = async () => {
    const all = await Promise.all(open().map(async (connection) => {
      const stats = await connection.getStats();
      const transports = [...stats.values()].filter((r) => r.type === "transport");
      return transports.map((transport) => {
        const pair = stats.get(transport.selectedCandidatePairId);
        const protocol = stats.get(pair?.localCandidateId)?.protocol ?? "";
        return { protocol, round_trip_ms: (pair?.currentRoundTripTime ?? 0) * 1000 };
      });
    }));
    return all.flat();
  };

  const connected = () => open().length > 0 && open().every((c) => c.connectionState === "connected");
  window.probe = {
    relay, connections, sockets, notices, said, me, seats,
    videos, sounds, plainSound, sent, watch, forget, frames, pictures, tones, shown, ways, connected,
  };
}
