// Requests to the server; every failure is an Error whose message is for the person.

const UNREACHABLE =
  "The server cannot be reached; check that it is running, then try again.";
const MOST_WATCHED = 100; // jobs in one request, as the server accepts
const REOPEN_MILLISECONDS = 2000;

export const FINISHED = ["done", "failed", "cancelled", "gone"];

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
    const { code, message } = (await answer.json()).error;
    return Object.assign(new Error(message), { code });
  } catch {
    return new Error(`The server answered with status ${answer.status}; try again.`);
  }
}

export const getModels = async () => (await ask("/api/models")).json();
export const cancelJob = (id) => ask(`/api/jobs/${id}/cancel`, { method: "POST" });

// A job that the server does not have any more, such as an expired one, is no failure.
export async function deleteJob(id) {
  try {
    await ask(`/api/jobs/${id}`, { method: "DELETE" });
  } catch (error) {
    if (error.code !== "not_found") throw error;
  }
}

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
      "The upload was interrupted; check that the server is running, then try again.",
    );
    request.onabort = fail("The upload was cancelled.");
  });
  request.responseType = "json";
  request.open("POST", `/api/jobs${model ? `?model=${encodeURIComponent(model)}` : ""}`);
  request.setRequestHeader("Content-Type", "application/octet-stream");
  request.send(file);
  return { job, abort: () => request.abort() };
}

// Follow jobs by Server-Sent Events until all have finished, some at a time; returns a
// function that ends it.
export function watch(ids, take) {
  const unfinished = new Set(ids);
  let source, again;
  const open = () => {
    clearTimeout(again);
    again = null;
    const jobs = [...unfinished].slice(0, MOST_WATCHED).map((id) => `job=${id}`);
    if (!jobs.length) return;
    source = new EventSource(`/api/events?${jobs.join("&")}`);
    source.onmessage = (event) => {
      const job = JSON.parse(event.data);
      if (FINISHED.includes(job.state)) unfinished.delete(job.id);
      take(job);
      // Others take the places of those that have finished.
      if (!unfinished.has(job.id) && unfinished.size >= jobs.length && !again) {
        again = setTimeout(() => {
          source.close();
          open();
        }, REOPEN_MILLISECONDS);
      }
    };
    source.onerror = () => {
      // The stream ends when all of these have finished, or the server has gone away.
      source.close();
      clearTimeout(again);
      again = setTimeout(open, REOPEN_MILLISECONDS);
    };
  };
  open();
  return () => {
    source?.close();
    clearTimeout(again);
  };
}
