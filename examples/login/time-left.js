// Keeps the line up to date that says when the login ends. Asking does not extend the login.
const line = document.getElementById("time-left");

async function ask() {
  const answer = await fetch("/time-left").catch(() => undefined); // There may be no network now.
  const isLoggedOut = answer?.status === 401;
  if (answer?.ok || isLoggedOut) {
    const text = await answer.text();
    if (isLoggedOut) line.setAttribute("role", "status"); // A screen reader says this aloud.
    line.textContent = text;
  }
  if (!isLoggedOut) setTimeout(ask, 5000);
}

setTimeout(ask, 5000);
