// Shows the events of the server. They end with the login.
const line = document.getElementById("live");
const events = new EventSource("/events");
const show = (event) => { line.textContent = event.data; };

events.addEventListener("message", show);
events.addEventListener("end", (event) => {
  events.close(); // Otherwise the browser would ask again.
  show(event);
});
