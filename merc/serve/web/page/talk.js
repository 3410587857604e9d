// What the page asks of its own server; every refusal arrives as an Error with the server's sentence.

export async function ask(path, options = {}) {
  let answer;
  try {
    answer = await fetch(path, { credentials: "same-origin", ...options });
  } catch {
    throw new Error("merc does not answer; is it still running in the terminal?");
  }
  if (answer.status === 204) return null;
  const told = await answer.json().catch(() => ({}));
  if (!answer.ok) throw new Error(told.error || `the server refused (${answer.status})`);
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
      let error = `the server refused ${file.name} (${request.status})`;
      try { error = JSON.parse(request.responseText).error || error; } catch { /* keep the general sentence */ }
      return reject(new Error(error));
    };
    request.onerror = () => reject(new Error(`${file.name} could not be sent: the connection broke`));
    request.onabort = () => reject(new DOMException("cancelled", "AbortError"));
    signal.addEventListener("abort", () => request.abort());
    request.send(file);
  });
}

export const pause = (milliseconds) => new Promise((resolve) => setTimeout(resolve, milliseconds));
