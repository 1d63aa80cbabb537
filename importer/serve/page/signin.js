// Signs in with the service's token, if the service requires one.

import { ServiceError, get, onSignedOut, post, remove } from "./api.js";
import { byId, show } from "./dom.js";
import { clear, showError } from "./notice.js";

let signedIn = () => {};

onSignedOut(ask);
byId("signin-form").addEventListener("submit", submit);
byId("signout").addEventListener("click", leave);

/**
 * Ask the service whether it requires a token; if so, ask the user for it.
 * @param {() => void} then called each time the user is signed in
 */
export async function signIn(then) {
  signedIn = then;
  const session = await get("/session");
  if (session.token_required && !session.signed_in) ask();
  else go(session);
}

function go(session) {
  show(byId("signin"), false);
  show(byId("steps"));
  show(byId("signout"), session.token_required);
  signedIn();
}

/** Show the sign-in form; the hidden steps keep what was typed and chosen. */
function ask() {
  if (!byId("signin").hidden) return;
  show(byId("signin"));
  show(byId("steps"), false);
  show(byId("history"), false);
  show(byId("to-history"), false);
  show(byId("signout"), false);
  byId("token").focus();
}

async function submit(event) {
  event.preventDefault();
  const place = byId("signin-error");
  clear(place);
  try {
    const session = await post("/session", { token: byId("token").value });
    byId("token").value = "";
    go(session);
  } catch (error) {
    if (!(error instanceof ServiceError)) throw error;
    showError(place, error);
    byId("token").select();
  }
}

async function leave() {
  await remove("/session");
  location.assign("/");
}
