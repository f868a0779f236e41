// One end of a call that is measured: run in an empty page of the server's origin by cc_browser/call.rs, after probe.js.
// Every page has `call`: it sends or watches, through the server or directly, and says what happened since it was
// asked last.
"use strict";
{
  const CELLS = 10; // of the bar code (media.rs): a white and a black guard, then eight bits
  let camera = null;
  let connection = null;
  let room = null;
  const endings = []; // what is to be done when the call ends
  let frames = []; // [when, number, width] since the last sample
  let decodable = 0; // bytes of the frames that came to the decoder

  // The time of day, in milliseconds, by the clock that all pages of a machine share.
  const now = () => performance.timeOrigin + performance.now();

  // The number in the bar code of a frame: two rows of its middle are looked at, nothing is painted.
  const numberOf = async (frame) => {
    const { x: left, y: top, width, height } = frame.visibleRect;
    const rect = { x: left & ~1, y: (top & ~1) + ((height >> 2) << 1), width: width & ~1, height: 2 };
    const pixels = new Uint8Array(frame.allocationSize({ rect }));
    const [{ offset, stride }] = await frame.copyTo(pixels, { rect });
    let number = 0;
    for (let cell = 0; cell < CELLS; cell++) {
      const middle = Math.floor(((cell + 0.5) / CELLS) * rect.width);
      let sum = 0;
      for (const row of [0, 1]) {
        for (let x = middle - 2; x < middle + 2; x++) sum += pixels[offset + row * stride + x];
      }
      const white = sum > 8 * 125; // luma between 25 and 225
      if ((cell === 0 && !white) || (cell === 1 && white)) return null;
      number = cell < 2 ? 0 : number * 2 + (white ? 1 : 0);
    }
    return number;
  };

  // Notes each frame of a track from now on.
  const watch = (track) => {
    const clone = track.clone();
    const reader = new MediaStreamTrackProcessor({ track: clone, maxBufferSize: 30 }).readable.getReader();
    let ended = false;
    endings.push(() => {
      ended = true;
      reader.cancel();
      clone.stop();
    });
    frames = [];
    (async () => {
      while (!ended) {
        const { value: frame, done } = await reader.read();
        if (done) return;
        const at = now();
        const number = await numberOf(frame);
        if (!ended) frames.push([at, number, frame.displayWidth]);
        frame.close();
      }
    })();
  };

  // Weighs each frame on its way to the decoder. Counters of packets cannot: they have FEC among the media. Packets that
  // are repeated as padding make whole frames anew, which the decoder never sees: each frame counts once.
  const scales = `
    onrtctransform = ({ transformer }) => {
      const known = new Set();
      const weigh = new TransformStream({
        transform(frame, controller) {
          const { rtpTimestamp } = frame.getMetadata();
          if (!known.has(rtpTimestamp)) postMessage(frame.data.byteLength);
          known.add(rtpTimestamp);
          if (known.size > 1000) known.delete(known.values().next().value); // the oldest
          controller.enqueue(frame);
        },
      });
      transformer.readable.pipeThrough(weigh).pipeTo(transformer.writable);
    };`;
  const weigh = (receiver) => {
    decodable = 0;
    const worker = new Worker(URL.createObjectURL(new Blob([scales])));
    worker.onmessage = ({ data }) => (decodable += data);
    receiver.transform = new RTCRtpScriptTransform(worker);
    endings.push(() => worker.terminate());
  };
  // Chromium takes the scales only as long as the receiver is new.
  const { prototype } = RTCPeerConnection;
  const nativeAdd = prototype.addTransceiver;
  prototype.addTransceiver = function (kind, init) {
    const transceiver = nativeAdd.call(this, kind, init);
    if (kind === "video" && init?.direction === "recvonly") weigh(transceiver.receiver);
    return transceiver;
  };

  const openCamera = async ([width, height]) => {
    const video = { width: { exact: width }, height: { exact: height }, frameRate: 30 };
    camera = (await navigator.mediaDevices.getUserMedia({ video })).getVideoTracks()[0];
  };

  // Pages that never opened a device hide their addresses behind names that only they resolve.
  const askForDevices = async () => {
    const stream = await navigator.mediaDevices.getUserMedia({ audio: true });
    for (const track of stream.getTracks()) track.stop();
  };

  // Through the server.
  const enter = async (name, codec) => {
    const { Room } = await import("/sdk/index.js");
    const query = new URLSearchParams({ room: "cc-browser", identity: `${name}-${Math.random()}`, name });
    const reply = await fetch(`/dev/token?${query}`);
    const text = await reply.text();
    const token = text.startsWith("{") ? JSON.parse(text).token : text.trim();
    room = new Room({ token, codec, slots: { audio: 1, video: 1 } });
  };
  const publish = async (codec, topKbps) => {
    await enter("publisher", codec);
    await room.join({ camera });
    connection = room.peerConnection;
    await edit(({ encodings }) => (encodings[0].maxBitrate = topKbps * 1000)); // the largest is the first
    watch(camera);
  };
  const view = async (codec, port, [width, height]) => {
    probe.relay.port = port;
    await enter("viewer", codec);
    const seen = new Promise((resolve) => {
      room.on("trackattached", ({ track, mediaTrack }) => {
        if (track.kind !== "video") return;
        room.setLayout([{ track: track.id, width, height }]);
        resolve(mediaTrack);
      });
    });
    await room.join({});
    connection = room.peerConnection;
    void seen.then(watch);
  };

  const edit = async (change) => {
    const sender = connection.getSenders().find((one) => one.track?.kind === "video");
    const parameters = sender.getParameters();
    change(parameters);
    await sender.setParameters(parameters);
  };

  // Directly: one offers and sends, the other answers and watches. Descriptions are whole, with every candidate.
  const gathered = (peer) =>
    new Promise((resolve) => {
      const look = () => peer.iceGatheringState === "complete" && resolve(peer.localDescription.sdp);
      peer.onicegatheringstatechange = look;
      look();
    });
  const offer = async (codec, topKbps, keepSize) => {
    connection = new RTCPeerConnection();
    const transceiver = connection.addTransceiver(camera, {
      direction: "sendonly",
      sendEncodings: [{ maxBitrate: topKbps * 1000 }],
    });
    const all = RTCRtpSender.getCapabilities("video").codecs;
    const name = (one) => one.mimeType.split("/")[1].toLowerCase();
    const repair = ["rtx", "red", "ulpfec"];
    transceiver.setCodecPreferences(
      all.filter((one) => name(one) === codec || repair.includes(name(one))),
    );
    if (keepSize) await edit((parameters) => (parameters.degradationPreference = "maintain-resolution"));
    await connection.setLocalDescription();
    watch(camera);
    return gathered(connection);
  };
  const answer = async (sdp) => {
    connection = new RTCPeerConnection();
    connection.ontrack = ({ track, receiver }) => {
      weigh(receiver);
      watch(track);
    };
    await connection.setRemoteDescription({ type: "offer", sdp });
    await connection.setLocalDescription();
    return gathered(connection);
  };
  const accept = (sdp) => connection.setRemoteDescription({ type: "answer", sdp });

  const connected = () => connection?.connectionState === "connected";
  const hangUp = () => {
    for (const end of endings.splice(0)) end();
    if (room) room.leave();
    else connection?.close();
    [room, connection] = [null, null];
  };

  // What was watched since the last sample, and the counters of what is sent and received.
  const sample = async () => {
    const [received, sent, available] = [[], [], []];
    if (connection) {
      for (const report of (await connection.getStats()).values()) {
        if (report.type === "inbound-rtp" && report.kind === "video") received.push(inbound(report));
        if (report.type === "outbound-rtp" && report.kind === "video") sent.push(outbound(report));
        if (report.type === "candidate-pair" && report.nominated) available.push(report.availableOutgoingBitrate ?? 0);
      }
    }
    const seen = frames;
    frames = [];
    const kbps = Math.max(0, ...available) / 1000;
    return { at_ms: now(), frames: seen, received: received[0] ?? null, sent, available_kbps: kbps };
  };
  const inbound = (report) => ({
    bytes: report.bytesReceived ?? 0,
    decodable,
    headers: report.headerBytesReceived ?? 0,
    retransmitted_bytes: report.retransmittedBytesReceived ?? 0,
    packets: report.packetsReceived ?? 0,
    retransmitted: report.retransmittedPacketsReceived ?? 0,
    lost: report.packetsLost ?? 0,
    decoded: report.framesDecoded ?? 0,
    dropped: report.framesDropped ?? 0,
    frozen_s: report.totalFreezesDuration ?? 0,
    freezes: report.freezeCount ?? 0,
    nacks: report.nackCount ?? 0,
    plis: report.pliCount ?? 0,
    waited_s: report.jitterBufferDelay ?? 0,
    emitted: report.jitterBufferEmittedCount ?? 0,
    wait_wanted_s: report.jitterBufferTargetDelay ?? 0,
    assembling_s: report.totalAssemblyTime ?? 0,
    decoding_s: report.totalDecodeTime ?? 0,
    jitter_s: report.jitter ?? 0,
  });
  const outbound = (report) => ({
    rid: report.rid ?? "",
    codec: report.encoderImplementation ?? "",
    bytes: report.bytesSent ?? 0,
    repair: report.retransmittedBytesSent ?? 0,
    frames: report.framesSent ?? 0,
    width: report.frameWidth ?? 0,
    target_kbps: (report.targetBitrate ?? 0) / 1000,
    limited_by: report.qualityLimitationReason ?? "",
    cpu_limited_s: report.qualityLimitationDurations?.cpu ?? 0,
    encoding_s: report.totalEncodeTime ?? 0,
  });

  // How far another page's clock is ahead of this one's: the best of some round trips.
  const clockOf = async (name) => {
    const channel = new BroadcastChannel(name);
    let best = { took: Infinity, ahead: 0 };
    for (let round = 0; round < 20; round++) {
      const asked = now();
      const there = await new Promise((resolve) => {
        channel.onmessage = ({ data }) => typeof data === "number" && resolve(data);
        channel.postMessage("?");
      });
      const took = now() - asked;
      if (took < best.took) best = { took, ahead: there - asked - took / 2 };
    }
    channel.close();
    return best;
  };
  const tellClock = (name) => {
    const channel = new BroadcastChannel(name);
    channel.onmessage = ({ data }) => data === "?" && channel.postMessage(now());
  };

  window.call = {
    openCamera, askForDevices, publish, view, offer, answer, accept, connected, hangUp, sample, clockOf, tellClock,
  };
}
