// Records a clip from the camera and the microphone, if the browser has them and the user allows it.
import { t } from "/texts.js";

const FORMATS = ["video/webm;codecs=vp8,opus", "video/webm", "video/mp4"];
const SOUND_FORMATS = ["audio/webm;codecs=opus", "audio/webm", "audio/mp4"];
const id = (name) => document.getElementById(name);
let count = 0;

// Only a page of this computer, or over https, is given devices.
export const canRecord = () => Boolean(navigator.mediaDevices?.getUserMedia && window.MediaRecorder);

// Calls `taken` with the recorded File, `failed` with a sentence, `said` with what has begun.
export async function record(withCamera, { taken, failed, said }) {
  let stream;
  try {
    stream = await navigator.mediaDevices.getUserMedia({ audio: true, video: withCamera && { width: 640, height: 480 } });
  } catch {
    return failed(t("noDevice"));
  }
  const type = (withCamera ? FORMATS : SOUND_FORMATS).find((one) => MediaRecorder.isTypeSupported(one));
  const recorder = new MediaRecorder(stream, type ? { mimeType: type } : {});
  const pieces = [], begin = Date.now();
  let isKept = true;
  recorder.ondataavailable = (event) => { if (event.data.size) pieces.push(event.data); };
  const show = () => { id("record-time").textContent = t("recording", Math.round((Date.now() - begin) / 1000)); };
  const clock = setInterval(show, 1000);
  const end = (keep) => () => { isKept = keep; if (recorder.state !== "inactive") recorder.stop(); };
  recorder.onstop = () => {
    clearInterval(clock);
    stream.getTracks().forEach((track) => track.stop());
    id("preview").srcObject = null;
    panel(false);
    id(withCamera ? "record-both" : "record-sound").focus();
    if (!isKept || !pieces.length) return;
    const kind = recorder.mimeType.split(";")[0];
    count += 1;
    taken(new File(pieces, `recording-${count}.${kind.endsWith("mp4") ? "mp4" : "webm"}`, { type: kind }));
  };
  id("record-stop").onclick = end(true);
  id("record-discard").onclick = end(false);
  id("preview").hidden = !withCamera;
  if (withCamera) id("preview").srcObject = stream;
  panel(true);
  show();
  recorder.start(1000);
  said(t("recordingStarts"));
  id("record-stop").focus();
  return null;
}

function panel(isOpen) {
  id("recorder").hidden = !isOpen;
  id("record").hidden = isOpen;
}
