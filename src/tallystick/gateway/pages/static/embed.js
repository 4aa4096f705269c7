// Puts Tallystick's payment page into a page of yours. The card never touches that page.
//
//   <script src="https://gateway.example/js/v1"></script>
//   const page = await Tallystick("pk_test_…").createEmbeddedCheckoutPage({ fetchClientSecret });
//   page.mount("#checkout");
//
// fetchClientSecret   async () => the `client_secret` of a checkout session that your server made
// onComplete          called once when the payment is complete; then the page goes to the session's return_url
(() => {
  "use strict";
  const gateway = new URL(document.currentScript.src).origin;
  const HEIGHT_AT_FIRST_PX = 640;
  const HEIGHT_MAX_PX = 20000;

  function embeddedPage(session, onComplete) {
    let frame = null;
    let complete = false;
    let destroyed = false;

    function hear(event) {
      if (frame === null || event.source !== frame.contentWindow || event.origin !== gateway) return;
      const { tallystick, status, height } = event.data ?? {};
      if (tallystick !== 1) return;
      if (Number.isFinite(height) && height > 0) frame.style.height = `${Math.min(height, HEIGHT_MAX_PX)}px`;
      if (complete || (status !== "complete" && status !== "returning")) return;
      complete = true;
      onComplete?.();
      if (status === "returning") window.location.assign(`${gateway}/embed/${session}/return`);
    }

    return {
      mount(where) {
        if (destroyed) throw new Error("Tallystick: this checkout was destroyed; create another one.");
        if (frame !== null) throw new Error("Tallystick: this checkout is mounted already.");
        const place = typeof where === "string" ? document.querySelector(where) : where;
        if (!(place instanceof Element)) throw new Error("Tallystick: mount() needs an element or a selector that finds one.");
        frame = document.createElement("iframe");
        frame.title = "Secure card payment";
        frame.style.cssText = `display:block;width:100%;height:${HEIGHT_AT_FIRST_PX}px;border:0`;
        frame.addEventListener("load", ({ target }) => target.contentWindow?.postMessage({ tallystick: 1 }, gateway));
        frame.src = `${gateway}/embed/${session}`;
        window.addEventListener("message", hear);
        place.append(frame);
      },
      unmount() {
        window.removeEventListener("message", hear);
        frame?.remove();
        frame = null;
      },
      destroy() {
        this.unmount();
        destroyed = true;
      },
    };
  }

  function Tallystick(publishableKey) {
    const [, mode] = /^pk_(test|live)_[0-9A-Za-z]+$/.exec(publishableKey) ?? [];
    if (mode === undefined) throw new Error("Tallystick: a publishable key is needed, pk_test_… or pk_live_….");

    async function createEmbeddedCheckoutPage({ fetchClientSecret, clientSecret, onComplete } = {}) {
      const secret = clientSecret ?? (await fetchClientSecret?.());
      const [, session, sessionMode] = /^(cs_(test|live)_[0-9A-Za-z]+)_secret_[0-9A-Za-z]+$/.exec(secret) ?? [];
      if (session === undefined) throw new Error("Tallystick: fetchClientSecret must give the client_secret of a checkout session.");
      if (sessionMode !== mode) throw new Error("Tallystick: the key and the checkout session are not of the same mode.");
      return embeddedPage(session, onComplete);
    }

    return { createEmbeddedCheckoutPage, initEmbeddedCheckout: createEmbeddedCheckoutPage };
  }

  window.Tallystick = Tallystick;
})();
