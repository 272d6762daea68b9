/* A form of ours (`easel.ui.controls`) as one component: its value is what stands in its controls, by their names.
   The service may fill some of them: a value with these names only. A [data-act] says to it what was clicked ('act').
   [data-when="name"], [data-when="name=value"] is there while that stands in the control; [data-pick] shows one
   [data-section] beside it; an img [data-shown="name"] shows what the service sends under that name. */
easel.form = (element, props, trigger, watch, upload) => {
  const all = (selector) => [...element.querySelectorAll(selector)];
  const controls = Object.create(null), hiding = all('[data-when]'), pictures = {};  // what there is stays
  for (const one of all('[name]')) (controls[one.name] ??= []).push(one);
  const named = (name) => controls[name] ?? [];
  const get = (name) => {
    const found = named(name), one = found[0];
    switch (one?.type) {
      case undefined: return null;
      case 'radio': return found.find((each) => each.checked)?.value ?? null;
      case 'checkbox': return 'several' in one.dataset ? found.filter((each) => each.checked).map((each) => each.value) : one.checked;
      case 'number': return one.value === '' ? null : Number(one.value);
      case 'file': return pictures[name] ?? null;
      default: return one.value;
    }
  };
  const show = () => {
    for (const one of hiding) {
      const [name, value] = one.dataset.when.split(/=(.*)/s);
      one.hidden = value === undefined ? !get(name) : get(name) !== value;
    }
  };
  const tell = () => {
    show();
    props.value = Object.fromEntries(Object.keys(controls).map((name) => [name, get(name)]));
  };
  const slide = (box) => {
    const range = box.parentElement.querySelector('[type=range]');
    if (range) range.value = box.value;
  };
  const picture = (name, given) => {
    pictures[name] = given && { path: given.path };
    const drop = named(name)[0].closest('.easel-drop'), seen = drop.querySelector('img');
    drop.classList.toggle('full', Boolean(given));
    if (given) seen.src = given.url;
  };
  const put = (values) => {
    for (const [name, value] of Object.entries(values ?? {})) {
      const shown = all('[data-shown]').find((one) => one.dataset.shown === name);
      if (shown) { shown.src = value; shown.hidden = !value; }
      for (const one of named(name)) {
        if (one.type === 'radio') one.checked = one.value === String(value);
        else if (one.type === 'checkbox') one.checked = 'several' in one.dataset ? (value ?? []).includes(one.value) : Boolean(value);
        else if (one.type === 'file') picture(name, value?.url ? value : null);
        else {
          const known = one.tagName !== 'SELECT' || [...one.options].some((each) => each.value === String(value));
          if (!known) one.add(new Option(value, value));
          one.value = value ?? '';
          slide(one);
        }
      }
    }
    tell();
  };
  const aspect = (ratio) => {  // the number of pixels stays about as it is
    const [a, b] = ratio.split(':').map(Number), area = get('width') * get('height');
    const side = (x) => Math.max(64, Math.round(x / 8) * 8);
    put({ width: side(Math.sqrt(area * a / b)), height: side(Math.sqrt(area * b / a)) });
  };
  element.addEventListener('click', (event) => {
    const button = event.target.closest('button');
    if (!button) return;
    const { act, swap, random, reuse, clear, pick } = button.dataset;
    if (act) trigger('act', { ...button.dataset });
    if (swap !== undefined) put({ width: get('height'), height: get('width') });
    if (random) put({ [random]: -1 });
    if (reuse) put({ [reuse]: easel.seed(button.dataset.kind, reuse, get(reuse)) });
    if (clear) put({ [clear]: null });
    if (pick) {
      for (const one of button.parentElement.children) one.setAttribute('aria-selected', String(one === button));
      for (const one of button.closest('.easel-picked').querySelectorAll('[data-section]')) one.hidden = one.dataset.section !== pick;
    }
  });
  element.addEventListener('input', (event) => {
    const one = event.target;
    if (one.type === 'range') one.parentElement.querySelector('[type=number]').value = one.value;
    else if (one.type === 'number') slide(one);
    if ('aspect' in one.dataset) {
      if (one.value) aspect(one.value);
      one.value = '';
    } else if (one.type !== 'file') tell();
  });
  const take = async (name, file) => {
    picture(name, await upload(file));
    tell();
  };
  element.addEventListener('change', (event) => {
    const { type, name, files } = event.target;
    if (type !== 'file' || !files.length) return;
    take(name, files[0]);
    event.target.value = '';
  });
  document.addEventListener('paste', (event) => {  // into the place for a picture that is pointed at, or has the focus
    const drop = all('.easel-drop').find((one) => one.matches(':hover, :focus-within'));
    const file = [...event.clipboardData.files].find((one) => one.type.startsWith('image/'));
    if (!drop || !file) return;
    event.preventDefault();
    take(drop.querySelector('[type=file]').name, file);
  });
  element.addEventListener('submit', (event) => event.preventDefault());
  watch('value', () => put(props.value));
  put(props.value);
};
