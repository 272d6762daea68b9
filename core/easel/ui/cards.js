/* Models as cards (`easel.ui.cards`). The first of its tabs is what stands below this component; behind the others are
   the cards of a kind, one page of them. What has data-act says so to the service ('act'): {act, kind, words, page,
   title}; an answer is shown while it is what was asked for last. */
easel.cards = (element, props, trigger, watch) => {
  const one = (selector) => element.querySelector(selector);
  const panel = one('[role=tabpanel]'), search = one('[type=search]'), cards = one('[data-cards]');
  let kind, page = 0;
  const ask = (act, title) => trigger('act', { act, kind, words: search.value, page, title });
  const show = (from) => {
    page = from;
    ask('show');
  };
  const open = (tab) => {
    if (tab.dataset.kind && tab.dataset.kind !== kind) {
      kind = tab.dataset.kind;
      search.value = '';
      cards.replaceChildren();
      if (!panel.hidden) show(0);
    }
    for (const each of element.querySelectorAll('[role=tab]')) each.setAttribute('aria-selected', String(each === tab));
    panel.hidden = !tab.dataset.kind;
  };
  element.addEventListener('click', (event) => {
    const button = event.target.closest('button'), { act, by, title } = button?.dataset ?? {};
    if (button?.matches('[role=tab]')) open(button);
    else if (by) show(Math.max(0, page + Number(by)));
    else if (act) ask(act, title);
  });
  search.addEventListener('input', () => show(0));
  watch('value', () => {
    const said = props.value;
    if (said.kind !== kind || said.words !== search.value) return;
    cards.innerHTML = said.cards;
    page = said.page;
  });
  new IntersectionObserver((entries) => {
    if (entries.at(-1).isIntersecting) show(page); // whenever it comes into view: there may be new models
  }).observe(panel);
};
