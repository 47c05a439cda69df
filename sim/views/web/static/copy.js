// A text with a button that copies it; where there is no clipboard it is selected.

class Copy extends HTMLElement {
  connectedCallback() {
    const button = this.querySelector("button");
    const text = this.querySelector("code");
    const label = button.textContent;
    button.hidden = false;
    button.setAttribute("aria-live", "polite");
    button.addEventListener("click", async () => {
      button.textContent = (await copied(text)) ? "Copied" : "Selected";
      setTimeout(() => (button.textContent = label), 1500);
    });
  }
}

async function copied(element) {
  try {
    await navigator.clipboard.writeText(element.textContent);
    return true;
  } catch {
    getSelection().selectAllChildren(element);
    return false;
  }
}

customElements.define("billp-copy", Copy);
