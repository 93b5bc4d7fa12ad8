// A photo from the camera: on a phone by its own app, else in a dialog with a live picture.
import { $, h } from "./dom.js";

const dialog = $("#camera");

// Resolves to a file, or null if the user closes the dialog.
export async function takePhoto() {
  if (matchMedia("(pointer: coarse)").matches || !navigator.mediaDevices?.getUserMedia) return openApp();
  const video = h("video", { autoplay: true, muted: true, playsInline: true, "aria-label": "what the camera sees" });
  const message = h("p", { className: "muted", role: "status" }, "Waiting for the camera …");
  return new Promise((resolve) => {
    let stream = null;
    const end = (file) => {
      stream?.getTracks().forEach((track) => track.stop());
      dialog.close();
      resolve(file);
    };
    const shoot = h("button", { type: "button", className: "primary", disabled: true, onclick: async () => end(await grab(video)) }, "Take photo");
    dialog.replaceChildren(h("div", { className: "card stage" }, video, message,
      h("div", { className: "row" }, shoot, h("button", { type: "button", onclick: () => end(null) }, "Close"))));
    dialog.oncancel = (event) => { event.preventDefault(); end(null); };
    dialog.showModal();
    navigator.mediaDevices.getUserMedia({ video: { facingMode: "environment" } }).then((found) => {
      if (!dialog.open) { found.getTracks().forEach((track) => track.stop()); return; }
      stream = found;
      video.srcObject = found;
      video.onloadeddata = () => { shoot.disabled = false; message.textContent = ""; };
    }, () => { message.textContent = "There is no camera, or the browser does not allow it."; });
  });
}

function openApp() {
  return new Promise((resolve) => {
    const input = h("input", { type: "file", accept: "image/*" });
    input.setAttribute("capture", "environment");
    input.onchange = () => resolve(input.files[0] ?? null);
    input.oncancel = () => resolve(null);
    input.click();
  });
}

function grab(video) {
  const canvas = h("canvas", { width: video.videoWidth, height: video.videoHeight });
  canvas.getContext("2d").drawImage(video, 0, 0);
  return new Promise((resolve) => canvas.toBlob((blob) => resolve(new File([blob], "photo.png", { type: "image/png" }))));
}
