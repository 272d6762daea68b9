/* What HTML of ours says to the service, as events of its component (`easel.ui.markup.live`):
   'act'    a click on [data-act], or a form with data-act that was sent, its fields in `values`
   'reload' the same for [data-reload]: make a new build of the page
   'opened' it came into view; 'tick': a second passed while it was in view
   A click on [data-event] is the event of that name. [data-resume="KIND"] is the event 'resume', once, when it is first
   in view and this browser's tab had shown a job there before.
   A field [data-filter] hides the [data-row] without its words; [data-pick] shows one [data-section] of several. */
easel.markup = (element, trigger, watch) => {
  const one = (selector) => element.querySelector(selector);
  const all = (selector) => [...element.querySelectorAll(selector)];
  const read = (field) => {
    if (field.type === 'checkbox') return field.checked;
    if (field.multiple) return [...field.selectedOptions].map((option) => option.value);
    if (field.type === 'number') return field.value === '' ? null : Number(field.value);
    return field.value;
  };
  let picked;
  const arrange = () => {
    picked ??= one('[data-pick]')?.dataset.pick; // the first, once there is one
    const words = (one('[data-filter]')?.value ?? '').toLowerCase().split(/\s+/).filter(Boolean);
    for (const row of all('[data-row]')) {
      const text = row.textContent.toLowerCase();
      row.hidden = !words.every((word) => text.includes(word));
    }
    for (const section of all('[data-section]')) {
      section.hidden = words.length ? !section.querySelector('[data-row]:not([hidden])') : section.dataset.section !== picked;
    }
    for (const pick of all('[data-pick]')) {
      pick.setAttribute('aria-current', String(!words.length && pick.dataset.pick === picked));
    }
  };
  element.addEventListener('click', (event) => {
    const button = event.target.closest('button');
    if (button?.dataset.act && button.type !== 'submit') trigger('act', { ...button.dataset });
    if (button && 'reload' in button.dataset) trigger('reload', {});
    if (button?.dataset.event) trigger(button.dataset.event, {});
    if (button?.dataset.pick) {
      picked = button.dataset.pick;
      const filter = one('[data-filter]');
      if (filter) filter.value = '';
      arrange();
    }
  });
  element.addEventListener('submit', (event) => {
    event.preventDefault();
    const form = event.target, fields = [...form.elements].filter((field) => field.name && !field.disabled);
    const values = Object.fromEntries(fields.map((field) => [field.name, read(field)]));
    trigger('reload' in form.dataset ? 'reload' : 'act', { ...form.dataset, values });
  });
  element.addEventListener('input', (event) => {
    if ('filter' in event.target.dataset) arrange();
  });
  watch('value', () => {
    for (const form of all('form')) {
      const filter = form.querySelector('[data-filter]'), kept = filter?.value;
      form.reset(); // what the service says counts
      if (filter) filter.value = kept;
    }
    arrange();
  });
  arrange();
  const resume = (kind) => {
    const job = kind && sessionStorage.getItem(`easel-job-${kind}`);
    if (job) trigger('resume', { job });
  };
  let seen; // undefined: never
  new IntersectionObserver((entries) => {
    const now = entries.at(-1).isIntersecting;
    if (now && !seen) trigger('opened', {});
    if (now && seen === undefined) resume(one('[data-resume]')?.dataset.resume);
    if (now || seen) seen = now;
  }).observe(element);
  const ticking = setInterval(() => {
    if (!element.isConnected) clearInterval(ticking);
    else if (seen && document.visibilityState === 'visible') trigger('tick', {});
  }, 1000);
};
