// Requests to the server; every failure is an Error whose message is for the person.

const UNREACHABLE =
  "The server cannot be reached; check that it runs, then try again.";

async function ask(address, options = {}) {
  let answer;
  try {
    answer = await fetch(address, options);
  } catch {
    throw new Error(UNREACHABLE);
  }
  if (!answer.ok) throw await failure(answer);
  return answer;
}

async function failure(answer) {
  try {
    return new Error((await answer.json()).error.message);
  } catch {
    return new Error(`The server answers with status ${answer.status}; try again.`);
  }
}

export const getModels = async () => (await ask("/api/models")).json();
export const getJob = async (id) => (await ask(`/api/jobs/${id}`)).json();
export const cancelJob = (id) => ask(`/api/jobs/${id}/cancel`, { method: "POST" });
export const deleteJob = (id) => ask(`/api/jobs/${id}`, { method: "DELETE" });
export const getOverview = async (id, part) =>
  (await ask(`/api/jobs/${id}/${part}/overview`)).json();

export const stemAddress = (id, part, stem) =>
  `/api/jobs/${id}/${part}/${encodeURIComponent(stem)}.wav`;

export async function getBytes(address, first, last) {
  const answer = await ask(address, { headers: { Range: `bytes=${first}-${last}` } });
  const bytes = await answer.arrayBuffer();
  return answer.status === 206 ? bytes : bytes.slice(first, last + 1);
}

// Send a file; `report` is given the part that is sent, 0 to 1. Returns the promise of
// the job and a function that ends the upload.
export function upload(file, model, report) {
  const request = new XMLHttpRequest();
  const job = new Promise((resolve, reject) => {
    const fail = (message) => () => reject(new Error(message));
    request.upload.onprogress = (event) =>
      event.lengthComputable && report(event.loaded / event.total);
    request.onload = () => {
      const body = request.response;
      if (request.status === 202) resolve(body);
      else reject(new Error(body?.error?.message ?? UNREACHABLE));
    };
    request.onerror = fail(
      "The upload broke off; check that the server runs, then try again.",
    );
    request.onabort = fail("The upload is cancelled.");
  });
  request.responseType = "json";
  request.open("POST", `/api/jobs${model ? `?model=${encodeURIComponent(model)}` : ""}`);
  request.setRequestHeader("Content-Type", "application/octet-stream");
  request.send(file);
  return { job, abort: () => request.abort() };
}

// Follow jobs by Server-Sent Events; returns a function that ends it.
export function watch(ids, take) {
  if (!ids.length) return () => {};
  const address = `/api/events?${ids.map((id) => `job=${id}`).join("&")}`;
  let source, again;
  const open = () => {
    source = new EventSource(address);
    source.onmessage = (event) => take(JSON.parse(event.data));
    source.onerror = () => {
      // The stream ends when nothing more changes, or the server has gone away.
      source.close();
      again = setTimeout(open, 2000);
    };
  };
  open();
  return () => {
    source.close();
    clearTimeout(again);
  };
}
