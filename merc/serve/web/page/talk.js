// What the page asks of its own server; every refusal arrives as an Error with the server's sentence, which is English.
import { t } from "/texts.js";

export class ServersError extends Error { language = "en"; }

export async function ask(path, options = {}) {
  let answer;
  try {
    answer = await fetch(path, { credentials: "same-origin", ...options });
  } catch (error) {
    throw error.name === "AbortError" ? error : new Error(t("silent"));
  }
  if (answer.status === 204) return null;
  const told = await answer.json().catch(() => ({}));
  if (!answer.ok) throw told.error ? new ServersError(told.error) : new Error(t("refused", answer.status));
  return told;
}

export const post = (path, content) =>
  ask(path, { method: "POST", body: content === undefined ? undefined : JSON.stringify(content) });

// XMLHttpRequest, because fetch does not tell how much has left.
export function upload(path, file, told, signal) {
  return new Promise((resolve, reject) => {
    const request = new XMLHttpRequest();
    request.open("PUT", path);
    request.upload.onprogress = (event) => told(event.loaded);
    request.onload = () => {
      if (request.status < 300) return resolve();
      let told = null;
      try { told = JSON.parse(request.responseText).error; } catch { /* the general sentence */ }
      return reject(told ? new ServersError(told) : new Error(`${file.name}: ${t("refused", request.status)}`));
    };
    request.onerror = () => reject(new Error(t("broke", file.name)));
    request.onabort = () => reject(new DOMException("cancelled", "AbortError"));
    signal.addEventListener("abort", () => request.abort());
    request.send(file);
  });
}
