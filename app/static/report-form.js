// The structure editor of the report form: loaded when asked for, kept in step with the text field, which is the equal way in.
// And what the live check says where it is slow or out of reach: it never stands in the way of sending.
const WAIT = 400;
const PATIENCE = 1000;

const watchCheck = (part) => {
  const place = document.getElementById(`check-${part.dataset.substance}`);
  let timer = 0;

  const say = (text) => {
    const line = document.createElement("p");
    line.className = "muted";
    line.textContent = text;
    place.replaceChildren(line);
    document.getElementById("announcer").textContent = text;
  };

  part.addEventListener("htmx:beforeRequest", () => {
    clearTimeout(timer);
    timer = setTimeout(() => say("Still checking; you can send anyway."), PATIENCE);
  });
  part.addEventListener("htmx:afterRequest", () => clearTimeout(timer));
  for (const failure of ["htmx:sendError", "htmx:responseError"]) {
    part.addEventListener(failure, () => say("The check does not answer now; you can send anyway."));
  }
};

const read = (library, text) => {
  const line = text.trim();
  if (!line) return new library.Molecule(0, 0);
  if (line.includes("M  END")) return library.Molecule.fromMolfile(text);
  if (line.startsWith("InChI=") || line.includes("\n")) return null;
  return library.Molecule.fromSmiles(line);
};

const attach = async (part) => {
  const box = part.querySelector("[data-editor]");
  const field = part.querySelector("textarea");
  const library = await import(box.dataset.source);
  const editor = new library.CanvasEditor(box, { initialMode: "molecule" });
  let own = "";

  const show = () => {
    if (field.value === own) return;
    try {
      const molecule = read(library, field.value);
      if (molecule) editor.setMolecule(molecule);
    } catch {
      // the live check says what is wrong with the text; the drawing stays as it is
    }
  };

  editor.setOnChangeListener(({ type, isUserEvent }) => {
    if (type !== "molecule" || !isUserEvent) return;
    const molecule = editor.getMolecule();
    own = molecule.getAllAtoms() ? molecule.toIsomericSmiles() : "";
    if (field.value === own) return;
    field.value = own;
    field.dispatchEvent(new Event("input", { bubbles: true }));
  });

  let timer = 0;
  field.addEventListener("input", () => {
    clearTimeout(timer);
    timer = setTimeout(show, WAIT);
  });
  show();
};

for (const part of document.querySelectorAll("[data-substance]")) {
  const holder = part.querySelector("[data-draw]");
  const button = holder.querySelector("button");
  const box = part.querySelector("[data-editor]");
  let ready = null;
  holder.hidden = false;
  watchCheck(part);
  button.addEventListener("click", () => {
    const open = box.hidden;
    box.hidden = !open;
    button.setAttribute("aria-expanded", String(open));
    button.textContent = open ? "Close the drawing" : "Draw it";
    if (open && !ready) {
      ready = attach(part).catch(() => {
        box.textContent = "The editor could not be loaded. Write the structure as SMILES above.";
      });
    }
  });
  // what is filled in already, after a refused report, is checked at once
  const filled = [...part.querySelectorAll("textarea, input:not([type=checkbox])")].find((field) => field.value.trim());
  if (filled) filled.dispatchEvent(new Event("change", { bubbles: true }));
}
