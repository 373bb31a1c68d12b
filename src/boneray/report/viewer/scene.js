// Draws the 3D scenes of a report with NiiVue. One pair of canvases serves the whole page, since a
// browser grants few WebGL contexts: it moves to the case that was opened last.
(function () {
  "use strict";

  const ANGLES = { front: [180, 8], right: [270, 8], back: [0, 8], top: [180, 90] };
  const START = [205, 12];
  // The light of the static pictures (report/shading.py): one lamp above the left shoulder of the eye.
  const SHADER = `#version 300 es
    precision highp float;
    precision highp int;
    uniform float opacity;
    in vec4 vClr;
    in vec3 vN;
    out vec4 color;
    void main() {
      float cosine = max(dot(normalize(vN), normalize(vec3(-0.35, 0.45, -0.82))), 0.0);
      color = vec4(vClr.rgb * (0.32 + 0.68 * cosine), opacity);
    }`;
  const REFERENCE_OPACITY = 0.5;
  const WHOLE_SCENE = 0.85; // at 1 NiiVue shows 0.8 of the bounding sphere and cuts the ends of long bones
  const stage = document.getElementById("stage");
  const title = document.title;
  let engines = null;
  let shown = null;

  function colourOf(variable) {
    const hex = getComputedStyle(document.documentElement).getPropertyValue(variable).trim().slice(1);
    return [0, 2, 4].map((at) => parseInt(hex.slice(at, at + 2), 16) / 255).concat(1);
  }

  function bytesOf(base64) {
    return Uint8Array.from(atob(base64), (letter) => letter.charCodeAt(0));
  }

  function settled() {
    return new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)));
  }

  async function start() {
    const common = {
      logLevel: "error", loadingText: "", dragAndDropEnabled: false, isColorbar: false, isOrientCube: false,
      show3Dcrosshair: false,
    };
    const slices = new niivue.Niivue({
      ...common, backColor: [0, 0, 0, 1], fontColor: [0.85, 0.88, 0.92, 1], fontMinPx: 14, isCornerOrientationText: true,
      crosshairColor: [0.75, 0.8, 0.86, 0.6], crosshairWidth: 0.5,
    });
    const surfaces = new niivue.Niivue({
      ...common, backColor: colourOf("--stage"), isOrientationTextVisible: false, crosshairWidth: 0,
    });
    await slices.attachToCanvas(document.getElementById("slices"));
    await surfaces.attachToCanvas(document.getElementById("surfaces"));
    slices.setSliceMM(true);
    slices.setRadiologicalConvention(true);
    slices.opts.multiplanarShowRender = 0;
    slices.setMultiplanarLayout(2);
    slices.setSliceType(slices.sliceTypeMultiplanar);
    surfaces.setSliceType(surfaces.sliceTypeRender);
    surfaces.setCustomMeshShader(SHADER, "boneray");
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => {
      surfaces.opts.backColor = colourOf("--stage");
      surfaces.drawScene();
    });
    return { slices, surfaces };
  }

  function labelColours(labels) {
    const channel = (at) => [0].concat(labels.colours.map((colour) => colour[at]));
    return {
      R: channel(0), G: channel(1), B: channel(2),
      A: [0].concat(labels.names.map(() => 255)),
      I: [0].concat(labels.names.map((_, at) => at + 1)),
      labels: [""].concat(labels.names.map((name) => name.replaceAll("_", " "))),
    };
  }

  async function addLabels(engine, labels, opacity) {
    const volume = await niivue.NVImage.loadFromBase64({ base64: labels.nifti, name: "labels.nii.gz" });
    engine.addVolume(volume);
    volume.setColormapLabel(labelColours(labels));
    engine.setOpacity(engine.volumes.length - 1, opacity);
  }

  async function addSurface(engine, surface, visible, opacity) {
    const rgba = new Uint8Array([...surface.colour, 255]);
    const mesh = await niivue.NVMesh.readMesh(bytesOf(surface.mz3).buffer, "bone.mz3", engine.gl, opacity, rgba, visible);
    engine.addMesh(mesh);
    engine.setMeshShader(mesh.id, "boneray");
    return mesh;
  }

  function clear({ slices, surfaces }) {
    while (slices.volumes.length) slices.removeVolume(slices.volumes[0]);
    while (surfaces.meshes.length) surfaces.removeMesh(surfaces.meshes[0]);
  }

  async function open(section) {
    engines = engines || (await start());
    if (shown) shown.section.querySelector(".slot").classList.remove("live");
    clear(engines);
    const scene = JSON.parse(section.querySelector("script.scene").textContent);
    const slot = section.querySelector(".slot");
    slot.append(stage);
    stage.hidden = false;
    slot.classList.add("live");
    engines.slices.resizeListener();
    engines.surfaces.resizeListener();
    shown = { section, bones: [], reference: [] };
    await addLabels(engines.slices, scene.labels, 1);
    if (scene.reference) await addLabels(engines.slices, scene.reference.labels, 0);
    engines.slices.updateGLVolume();
    for (const surface of scene.meshes) {
      shown.bones.push({ name: surface.bone, mesh: await addSurface(engines.surfaces, surface, true, 1) });
    }
    for (const surface of scene.reference ? scene.reference.meshes : []) {
      shown.reference.push(await addSurface(engines.surfaces, surface, false, REFERENCE_OPACITY));
    }
    engines.surfaces.setRenderAzimuthElevation(...START);
    engines.surfaces.setScale(WHOLE_SCENE);
    follow(section);
    document.querySelectorAll(".case").forEach((other) => {
      const button = other.querySelector(".open");
      if (button) button.hidden = other === section;
      other.querySelectorAll(".controls, .hint").forEach((part) => { part.hidden = other !== section; });
    });
    await settled();
  }

  function follow(section) {
    if (!shown || shown.section !== section) return;
    const reference = section.querySelector(".toggle-reference");
    const wanted = new Set([...section.querySelectorAll(".toggle-bone:checked")].map((box) => box.value));
    shown.bones.forEach(({ name, mesh }) => { mesh.visible = wanted.has(name); });
    shown.reference.forEach((mesh) => { mesh.visible = reference.checked; });
    if (shown.reference.length) engines.slices.setOpacity(1, reference.checked ? REFERENCE_OPACITY : 0);
    engines.surfaces.drawScene();
    engines.slices.drawScene();
  }

  function complain(section, text) {
    const line = section.querySelector(".problem");
    line.textContent = text;
    line.hidden = false;
    section.querySelector(".slot").classList.remove("live");
    section.querySelectorAll(".open, .controls, .hint").forEach((part) => { part.hidden = true; });
    stage.hidden = true;
  }

  async function tryOpen(section) {
    try {
      await open(section);
    } catch (error) {
      complain(section, `The 3D view could not be drawn (${error.message}); these are static pictures.`);
      throw error;
    }
  }

  // Programs that photograph the page wait for this title; a reader gets the real one back at once.
  function announce() {
    document.title = "READY";
    const restore = () => { document.title = title; };
    ["pointermove", "pointerdown", "keydown", "scroll"].forEach((event) => addEventListener(event, restore, { once: true }));
    addEventListener("beforeprint", restore);
  }

  function wire(section) {
    section.querySelectorAll(".toggle-outline").forEach((box) => {
      box.addEventListener("change", () => section.classList.toggle(`hide-${box.value}`, !box.checked));
    });
    section.querySelectorAll(".toggle-bone, .toggle-reference").forEach((box) => {
      box.addEventListener("change", () => follow(section));
    });
    section.querySelectorAll("[data-view]").forEach((button) => {
      button.addEventListener("click", () => engines.surfaces.setRenderAzimuthElevation(...ANGLES[button.dataset.view]));
    });
    const button = section.querySelector(".open");
    if (button) button.addEventListener("click", () => tryOpen(section));
  }

  const cases = [...document.querySelectorAll(".case")];
  const scenes = cases.filter((section) => section.querySelector("script.scene"));
  cases.forEach(wire);
  if (!scenes.length) {
    announce();
  } else if (!document.createElement("canvas").getContext("webgl2")) {
    scenes.forEach((section) => complain(section, "This browser offers no WebGL2; these are static pictures."));
    announce();
  } else {
    tryOpen(scenes[0]).then(announce);
  }
})();
