// Comfort for the payment page, which does everything without this module too: digits in groups, the card's brand,
// the slash in the date, mistakes shown before anything is sent, one submit however often the button is pressed.
// In an iframe it tells the parent page the payment's status and the page's height, nothing else.

const BRANDS = [
  { name: "amex", prefix: /^3[47]/, groups: [4, 6, 5], code: 4 },
  { name: "mastercard", prefix: /^(5[1-5]|222[1-9]|22[3-9]|2[3-6]|27[01]|2720)/, groups: [4, 4, 4, 4], code: 3 },
  { name: "discover", prefix: /^(6011|64[4-9]|65)/, groups: [4, 4, 4, 4, 3], code: 3 },
  { name: "jcb", prefix: /^35(2[89]|[3-8])/, groups: [4, 4, 4, 4, 3], code: 3 },
  { name: "visa", prefix: /^4/, groups: [4, 4, 4, 4, 3], code: 3 },
];
const ANY_BRAND = { name: "", groups: [4, 4, 4, 4, 3], code: 3 };

const digitsOf = (text) => text.replace(/\D/g, "");
const brandOf = (digits) => BRANDS.find(({ prefix }) => prefix.test(digits)) ?? ANY_BRAND;

function inGroups(digits, groups) {
  const parts = [];
  for (const size of groups) {
    if (!digits) break;
    parts.push(digits.slice(0, size));
    digits = digits.slice(size);
  }
  return parts.join(" ");
}

function luhn(digits) {
  let sum = 0;
  [...digits].reverse().forEach((digit, place) => {
    const value = Number(digit) * (1 + (place % 2));
    sum += value > 9 ? value - 9 : value;
  });
  return sum % 10 === 0;
}

function expiryOf(text) {
  const match = /^(\d{1,2})\D+(\d{2}|\d{4})$/.exec(text.trim()) ?? /^(\d{2})(\d{2}|\d{4})$/.exec(digitsOf(text));
  return match && { month: Number(match[1]), year: Number(match[2]) + (match[2].length === 2 ? 2000 : 0) };
}

// Writes `format(digits)` into the input and leaves the caret behind the same digit.
function rewrite(input, format) {
  const before = digitsOf(input.value.slice(0, input.selectionStart)).length;
  const text = format(digitsOf(input.value));
  if (text === input.value) return;
  const atEnd = input.selectionStart === input.value.length;
  input.value = text;
  let caret = 0;
  for (let seen = 0; caret < text.length && seen < before; caret += 1) seen += /\d/.test(text[caret]);
  if (document.activeElement === input) input.setSelectionRange(...Array(2).fill(atEnd ? text.length : caret));
}

function comfort(form) {
  const { "cc-number": number, "cc-exp": expiry, "cc-csc": code } = form.elements;
  const button = form.querySelector("button");

  number.addEventListener("input", () => {
    const brand = brandOf(digitsOf(number.value));
    rewrite(number, (digits) => inGroups(digits, brand.groups));
    if (brand.name) number.parentElement.dataset.brand = brand.name;
    else delete number.parentElement.dataset.brand;
    code.maxLength = brand.name ? brand.code : 4;
  });

  expiry.addEventListener("input", (event) => {
    if (/[^\d /]/.test(expiry.value) || event.inputType?.startsWith("delete")) return;
    if (expiryOf(expiry.value)?.year > 2000 && /\d{4}$/.test(expiry.value)) return; // what autofill wrote, full years
    rewrite(expiry, (digits) => {
      if (/^[2-9]/.test(digits)) digits = `0${digits}`;
      return digits.length < 2 ? digits : `${digits.slice(0, 2)} / ${digits.slice(2, 4)}`;
    });
  });

  const checks = {
    "cc-number": () => {
      const digits = digitsOf(number.value);
      return digits.length >= 13 && digits.length <= 19 && luhn(digits);
    },
    "cc-exp": () => {
      const { month, year } = expiryOf(expiry.value) ?? {};
      return month >= 1 && month <= 12 && new Date(year, month, 1) > new Date();
    },
    "cc-csc": () => {
      const digits = code.value.trim();
      return digits.length === brandOf(digitsOf(number.value)).code && !/\D/.test(digits);
    },
  };

  function mark(name, wrong) {
    const error = document.getElementById(`${name}-error`);
    error.textContent = wrong ? error.dataset.text : "";
    error.hidden = !wrong;
    if (wrong) form.elements[name].setAttribute("aria-invalid", "true");
    else form.elements[name].removeAttribute("aria-invalid");
  }

  for (const name of Object.keys(checks)) {
    const input = form.elements[name];
    input.addEventListener("input", () => {
      if (!input.hasAttribute("aria-invalid") || !checks[name]()) return;
      mark(name, false);
      if (!form.querySelector("[aria-invalid]")) document.getElementById("problem")?.remove();
    });
  }

  const label = [...button.childNodes];
  let busy = false;

  function setBusy(is) {
    busy = is;
    button.setAttribute("aria-disabled", String(is));
    button.replaceChildren(...(is ? [button.dataset.busy] : label));
  }

  form.addEventListener("submit", (event) => {
    if (busy) return event.preventDefault();
    const wrong = Object.keys(checks).filter((name) => !checks[name]());
    Object.keys(checks).forEach((name) => mark(name, wrong.includes(name)));
    if (wrong.length) {
      event.preventDefault();
      summarise(form, wrong);
    } else {
      setBusy(true);
    }
  });
  addEventListener("pageshow", ({ persisted }) => persisted && setBusy(false));
}

// The same summary of mistakes as the server renders, above the form and focused.
function summarise(form, wrong) {
  document.getElementById("problem")?.remove();
  const problem = document.importNode(document.getElementById("mistakes").content, true).firstElementChild;
  for (const name of wrong) {
    const link = document.createElement("a");
    link.href = `#${name}`;
    link.textContent = document.getElementById(`${name}-error`).textContent;
    const item = document.createElement("li");
    item.append(link);
    problem.querySelector("ul").append(item);
  }
  form.parentElement.prepend(problem);
  problem.focus();
}

// The parent greets; only then, and only if it stands on a registered origin, is it told anything.
function report(parents) {
  let origin = null;
  const tell = () => {
    if (origin === null) return;
    const height = Math.ceil(document.documentElement.getBoundingClientRect().height);
    parent.postMessage({ tallystick: 1, status: document.body.dataset.status, height }, origin);
  };
  addEventListener("message", (event) => {
    if (event.source !== parent || !parents.includes(event.origin) || event.data?.tallystick !== 1) return;
    origin = event.origin;
    tell();
  });
  new ResizeObserver(tell).observe(document.documentElement);
}

const form = document.querySelector("form.card");
if (form) comfort(form);
const { parents } = document.body.dataset;
if (parents !== undefined) document.getElementById("problem")?.focus(); // in a frame browsers ignore autofocus
if (parents && window.parent !== window) report(parents.split(" "));
