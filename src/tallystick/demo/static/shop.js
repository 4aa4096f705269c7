// The embedded payment page in this shop: the gateway's script makes the frame, the shop's own server gives the secret.
const place = document.getElementById("checkout");

async function embed() {
  const page = await Tallystick(place.dataset.publishableKey).createEmbeddedCheckoutPage({
    fetchClientSecret: async () => {
      const answer = await fetch(place.dataset.secretPath, { method: "POST" });
      if (!answer.ok) throw new Error(`the shop answered ${answer.status}`);
      return (await answer.json()).client_secret;
    },
  });
  page.mount("#checkout");
}

embed().catch((error) => {
  console.error(error);
  document.getElementById("checkout-problem").hidden = false;
});
