// Asks the shop once a second how the order stands and shows the page anew when that has changed.
const { state, path } = document.querySelector("[data-order]").dataset;

async function look() {
  try {
    const answer = await fetch(path);
    if (answer.ok && (await answer.json()).state !== state) return location.reload();
  } catch {
    // The shop is just starting again; the next look will tell.
  }
  setTimeout(look, 1000);
}

setTimeout(look, 1000);
