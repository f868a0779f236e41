// The two ways to a first frame, timed: run in an empty page of the server's origin by first_frame.rs.
"use strict";
{
  let camera = null;
  let room = null;
  let peer = null;
  let waiting = null;
  let shown = null; // the other one's picture, once it is there

  const show = (track) => {
    const video = document.createElement("video");
    video.muted = true;
    video.autoplay = true;
    video.srcObject = new MediaStream([track]);
    document.body.append(video);
    return video;
  };
  const hide = (video) => {
    video.srcObject = null;
    video.remove();
  };

  // The moment when the first decoded frame of `track` is presented.
  const firstFrame = (track) =>
    new Promise((resolve) => {
      const video = show(track);
      video.requestVideoFrameCallback(() => {
        resolve(performance.now());
        hide(video);
      });
    });

  // How long each frame that is shown in `millis` from now has waited since its last packet came.
  const waits = (millis) =>
    new Promise((resolve) => {
      const video = show(shown);
      const until = performance.now() + millis;
      const all = [];
      const each = (now, frame) => {
        all.push(frame.expectedDisplayTime - frame.receiveTime);
        if (now < until) return video.requestVideoFrameCallback(each);
        resolve(all);
        hide(video);
      };
      video.requestVideoFrameCallback(each);
    });

  const openCamera = async () => {
    const video = { width: 640, height: 360, frameRate: 30 };
    camera = (await navigator.mediaDevices.getUserMedia({ video })).getVideoTracks()[0];
  };

  // Through the server: this page enters the room, with its camera or without; with `timed` it waits for the other one's
  // picture.
  const enter = async (name, timed, publishes = true) => {
    const { Room } = await import("/sdk/index.js");
    const query = new URLSearchParams({ room: "first-frame", identity: `${name}-${Math.random()}`, name });
    const reply = await fetch(`/dev/token?${query}`);
    const text = await reply.text();
    const token = text.startsWith("{") ? JSON.parse(text).token : text.trim();
    room = new Room({ token, codec: "vp8", slots: { audio: 3, video: 3 } });
    const attached = new Promise((resolve) => {
      room.addEventListener("trackattached", ({ detail }) => {
        if (detail.mediaTrack.kind === "video") resolve((shown = detail.mediaTrack));
      });
    });
    const started = performance.now();
    const joined = room.join(publishes ? { camera } : {});
    if (!timed) return joined;
    return (await firstFrame(await attached)) - started;
  };
  const leave = () => {
    room.leave();
    room = null;
  };

  // Directly: this page calls, the other one answers; both send.
  const connection = (channel) => {
    peer = new RTCPeerConnection();
    peer.addTrack(camera, new MediaStream([camera]));
    const remote = new Promise((resolve) => (peer.ontrack = ({ track }) => resolve(track)));
    peer.onicecandidate = ({ candidate }) => channel.postMessage({ candidate: candidate?.toJSON() ?? null });
    return remote;
  };
  const send = (channel) => channel.postMessage({ description: peer.localDescription.toJSON() });
  const answer = (name) => {
    const channel = new BroadcastChannel(name);
    waiting = channel;
    channel.onmessage = async ({ data }) => {
      if (data.description) {
        void connection(channel);
        await peer.setRemoteDescription(data.description);
        await peer.setLocalDescription();
        send(channel);
      } else if (data.candidate) {
        await peer.addIceCandidate(data.candidate);
      }
    };
  };
  const call = async (name) => {
    const channel = new BroadcastChannel(name);
    waiting = channel;
    const early = []; // candidates may come before the answer does
    channel.onmessage = async ({ data }) => {
      if (data.description) {
        await peer.setRemoteDescription(data.description);
        for (const candidate of early.splice(0)) await peer.addIceCandidate(candidate);
      } else if (data.candidate) {
        if (peer.remoteDescription) await peer.addIceCandidate(data.candidate);
        else early.push(data.candidate);
      }
    };
    const started = performance.now();
    const remote = connection(channel);
    await peer.setLocalDescription();
    send(channel);
    return (await firstFrame(await remote)) - started;
  };
  const hangUp = () => {
    peer.close();
    waiting.close();
  };

  window.timing = { openCamera, enter, leave, waits, answer, call, hangUp };
}
