// A browser starts no worker for a page that is opened as a file. The search needs one: it gets a hidden frame, in
// which the script of the worker runs, and which takes and sends messages as a worker does.
if (location.protocol === "file:") {
  window.IFrameWorker = window.Worker = class extends EventTarget {
    constructor(url) {
      super();
      const frame = document.createElement("iframe");
      frame.hidden = true;
      frame.title = "search";
      const script = String(new URL(url, location.href)).replace(/"/g, "%22");
      frame.srcdoc =
        "<script>var postMessage = data => parent.postMessage(data, '*')</script>" + `<script src="${script}"></script>`;
      this.frame = frame;
      this.ready = new Promise(resolve => frame.addEventListener("load", resolve, { once: true }));
      window.addEventListener("message", event => {
        if (event.source === frame.contentWindow) this.dispatchEvent(new MessageEvent("message", { data: event.data }));
      });
      document.body.appendChild(frame);
    }

    postMessage(data) {
      // the frame's own postMessage is the worker's, which sends to this page
      this.ready.then(() => window.postMessage.call(this.frame.contentWindow, data, "*"));
    }

    terminate() {
      this.frame.remove();
    }
  };
}
